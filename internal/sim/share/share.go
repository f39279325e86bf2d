// Package share counts what roles and frameworks have that all want more, and judges whether it is even.
package share

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/mesos/resource"
)

// When all wishes are met, a small cluster is shared: every framework fills each offer with small tasks that live for some seconds, for
// ever. What they have after a while, on an average, must be even: between roles, and between the frameworks of a role.

// Tasks is into about how many tasks the cluster is divided.
const Tasks = 48

// For is how long the frameworks have for it, and Samples how often they are looked at then, every second.
const (
	For     = 30 * time.Second
	Samples = 60
)

// Slack is how many tasks two may differ by: messages under way, and tasks that live longer than others.
const Slack = 8

// level is what competes with others of its kind: a role below the root, or a framework in a role.
type level struct{ role, framework string }

// Count sums up what each has, over some samples.
type Count struct {
	// Size is that of a task.
	Size    resource.List
	has     map[level]int
	samples int
	rivals  map[string][]level // that compete with each other: roles below the root, and the frameworks of a role
}

// New makes a count of nothing, of tasks of a size.
func New(size resource.List) *Count {
	return &Count{Size: size, has: map[level]int{}, rivals: map[string][]level{}}
}

// Competes says that a framework wants as much as it can get in a role.
func (c *Count) Competes(role, framework string) {
	add := func(group string, l level) {
		if !slices.Contains(c.rivals[group], l) {
			c.rivals[group] = append(c.rivals[group], l)
		}
	}
	add("", level{top(role), ""})
	add(role, level{role, framework})
}

// Has counts a task of a framework in a role.
func (c *Count) Has(role, framework string) {
	c.has[level{top(role), ""}]++
	c.has[level{role, framework}]++
}

// Sampled says that all tasks were counted once more, and how often they were by now.
func (c *Count) Sampled() int {
	c.samples++
	return c.samples
}

// Judge tells fail, which takes the name of a rule first, what is uneven, of a cluster with room for so many tasks.
func (c *Count) Judge(room int, fail func(rule, format string, args ...any)) {
	all := 0
	for _, l := range c.rivals[""] {
		all += c.has[l]
	}
	if all < room*c.samples/4 {
		fail(rule.Shares, "a cluster with room for %d tasks has %d, and all want more", room, all/c.samples)
	}
	by := func(x, y level) int { return cmp.Compare(c.has[x], c.has[y]) }
	for _, g := range slices.Sorted(maps.Keys(c.rivals)) {
		least, most := slices.MinFunc(c.rivals[g], by), slices.MaxFunc(c.rivals[g], by)
		if c.has[most]-c.has[least] > Slack*c.samples {
			fail(rule.Shares, "%v has %d tasks of one size and %v has %d, and both want more", most, c.has[most]/c.samples, least, c.has[least]/c.samples)
		}
	}
}

func top(role string) string {
	t, _, _ := strings.Cut(role, "/")
	return t
}
