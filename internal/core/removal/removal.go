// Package removal keeps agents that are given up in a line, so that a fault of the network, which all of them seem to share, does
// not end the tasks of a whole cluster at once. It is part of the master's machine: it has no clock and no lock.
package removal

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
)

// Rate is how many agents may be removed in how long; the zero Rate bounds nothing. They are spread evenly: of 4 in a minute each
// comes 15 seconds after the one before.
type Rate struct {
	Agents int
	Per    time.Duration
}

// ParseRate reads a rate as the original writes it: "1/10mins", "100/1mins". Empty text is no bound.
func ParseRate(text string) (Rate, error) {
	if text == "" {
		return Rate{}, nil
	}
	agents, per, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(agents)
	d, wrong := mesos.ParseDuration(per)
	if err != nil || wrong != nil || n <= 0 || d <= 0 || d < time.Duration(n) {
		return Rate{}, fmt.Errorf("%q is not a number of agents and a time, as in 1/10mins", text)
	}
	return Rate{n, d}, nil
}

// String is what ParseRate reads.
func (r Rate) String() string {
	if r.Agents == 0 {
		return ""
	}
	return strconv.Itoa(r.Agents) + "/" + mesos.FormatDuration(r.Per)
}

// Line holds the agents that are given up and whose turn has not come, first come, first removed.
type Line struct {
	rate    Rate
	next    time.Duration // Mono time before which nobody is removed
	order   []*entry
	waiting map[string]*entry
}

type entry struct{ agent, why string }

// NewLine makes an empty one.
func NewLine(rate Rate) *Line { return &Line{rate: rate, waiting: map[string]*entry{}} }

// Add puts an agent at the end, unless it waits already, which is what it reports.
func (l *Line) Add(agent, why string) bool {
	if l.waiting[agent] != nil {
		return false
	}
	e := &entry{agent, why}
	l.order, l.waiting[agent] = append(l.order, e), e
	return true
}

// Cancel takes an agent out, and reports whether it was there.
func (l *Line) Cancel(agent string) bool {
	e := l.waiting[agent]
	if e == nil {
		return false
	}
	delete(l.waiting, agent)
	e.agent = "" // its place passes to the next
	return true
}

// Next takes out the agent whose turn it is, with the words that it was added with.
func (l *Line) Next(now time.Duration) (agent, why string, ok bool) {
	l.skip()
	if len(l.order) == 0 || now < l.next {
		return "", "", false
	}
	e := l.order[0]
	l.order = l.order[1:]
	delete(l.waiting, e.agent)
	if l.rate.Agents > 0 {
		l.next = now + l.rate.Per/time.Duration(l.rate.Agents)
	}
	return e.agent, e.why, true
}

// Deadline is when the next turn comes; Never while nobody waits.
func (l *Line) Deadline() time.Duration {
	l.skip()
	if len(l.order) == 0 {
		return machine.Never
	}
	return max(l.next, 1) // 0 would be Never
}

func (l *Line) skip() {
	for len(l.order) > 0 && l.order[0].agent == "" {
		l.order = l.order[1:]
	}
}
