package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/agentlink"
)

// hostileRole is what the resources of lying agents are reserved to, so that only hostile frameworks are offered them.
const hostileRole = "hostile"

// victim is a node that is lied to, and a framework on it that must not notice.
type victim struct {
	*node
	calm   *framework
	tasks  int
	leader string // its id
	home   string // the id of the node's agent
}

// meanwhile runs something while the framework launches one task after another. None may take longer than the bound to run,
// and nobody may have been cut off, nor the leader changed.
func (v *victim) meanwhile(t *testing.T, most time.Duration, do func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan time.Duration, 1)
	go func() {
		defer close(ended)
		worst, last := time.Duration(0), false
		for !last {
			select {
			case <-done:
				last = true // one more, that sees what it left
			default:
			}
			v.tasks++
			x := task(fmt.Sprintf("calm-%d", v.tasks), "exit 0")
			begun := time.Now()
			if err := v.calm.accept(x); err != nil {
				t.Errorf("the calm framework's call: %v", err)
				break
			}
			v.calm.await(x.GetTaskId().GetValue(), running)
			worst = max(worst, time.Since(begun))
		}
		ended <- worst
	}()
	do()
	close(done)
	worst, ok := <-ended
	if !ok {
		t.Fatal("a task of the other framework did not run")
	}
	t.Logf("the slowest task of the others ran after %s", worst.Round(time.Millisecond))
	if worst > most {
		t.Errorf("a task of another framework ran after %s only", worst)
	}
	if n := v.calm.subscriptions(); n != 1 {
		t.Errorf("the other framework had to subscribe %d times", n)
	}
	if id := v.leaderID(t); id != v.leader {
		t.Errorf("the leader changed from %s to %s", v.leader, id)
	}
}

func (v *victim) leaderID(t *testing.T) string {
	t.Helper()
	return field(ask(t, http.DefaultClient, http.MethodGet, "http://"+v.master+"/state", "").body, "id")
}

// count reads a counter of the master's.
func (v *victim) count(t *testing.T, name string) int {
	t.Helper()
	return flat(t, v.master, name)
}

// lines counts what was logged with all of these words.
func (v *victim) lines(words ...string) (n int) {
	for l := range strings.SplitSeq(v.out.String(), "\n") {
		all := true
		for _, w := range words {
			all = all && strings.Contains(l, w)
		}
		if all {
			n++
		}
	}
	return n
}

// memory is the node's resident memory in MiB.
func (v *victim) memory(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.cmd.Process.Pid))
	must(t, err)
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(b)
	kb, err := strconv.Atoi(string(m[1]))
	must(t, err)
	return kb >> 10
}

// liar is a link of something that is no agent of ours.
type liar struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	id   string
}

// lie greets the master over a new link.
func lie(t *testing.T, master string) *liar {
	t.Helper()
	l := &liar{t: t}
	l.conn, l.r = dialLink(t, master)
	l.say(&link.Up{Hello: &link.Hello{Versions: []uint32{agentlink.Version}, Session: "s"}})
	return l
}

func (l *liar) say(ups ...*link.Up) {
	l.t.Helper()
	var b []byte
	for _, up := range ups {
		b = append(b, frame(l.t, up)...)
	}
	_, _ = l.conn.Write(b) // a master that cuts the link does not take all of it
}

// register registers and waits for the answer; ok is false when the link was cut instead.
func (l *liar) register(r *link.Register) (ok bool) {
	l.t.Helper()
	l.say(&link.Up{Register: r})
	must(l.t, l.conn.SetReadDeadline(time.Now().Add(patience)))
	for {
		var d link.Down
		_, err := agentlink.ReadFrame(l.r, nil, &d)
		if e, isNet := err.(net.Error); isNet && e.Timeout() {
			l.t.Fatal("the master neither answers nor cuts the link")
		}
		if err != nil {
			return false
		}
		if a := d.GetRegistered().GetAgentId(); a != "" {
			l.id = a
			return true
		}
	}
}

// listen takes everything that comes and throws it away.
func (l *liar) listen() {
	_ = l.conn.SetReadDeadline(time.Time{}) // one that is closed needs none
	go func() { _, _ = io.Copy(io.Discard, l.r) }()
}

// bait is what hostile frameworks want offers of, and lying agents alone have.
const bait = "bait"

// machine describes an agent whose resources are for hostile frameworks.
func machine(t *testing.T, id, host string, resources ...*mesosv1.Resource) *link.Register {
	t.Helper()
	info := &mesosv1.AgentInfo{Hostname: &host, Port: proto.Int32(7), Resources: append(resources, amount(bait, 1))}
	if id != "" {
		info.Id = &mesosv1.AgentID{Value: &id}
	}
	b, err := proto.Marshal(info)
	must(t, err)
	return &link.Register{AgentInfo: b, Version: "1.11.0", Ip: "10.9.9.9", Capabilities: agentlink.Capabilities(), Links: uint64(time.Now().UnixNano())}
}

func amount(name string, v float64) *mesosv1.Resource {
	return &mesosv1.Resource{Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v}, Role: new(hostileRole)}
}

// wanted is an amount as a task of the hostile role asks for it.
func wanted(name string, v float64) *mesosv1.Resource {
	r := amount(name, v)
	r.AllocationInfo = &mesosv1.Resource_AllocationInfo{Role: new(hostileRole)}
	return r
}

// enemy is a framework of the hostile role, by hand.
type enemy struct {
	t *testing.T
	v *victim
	*stream
	hc *http.Client
}

func (v *victim) enemy(t *testing.T) *enemy {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	t.Cleanup(hc.CloseIdleConnections)
	return &enemy{t, v, open(t, hc, v.master, `{"user":"root","name":"enemy","roles":["hostile"],"capabilities":[{"type":"MULTI_ROLE"}],
		"offer_filters":{"hostile":{"min_allocatable_resources":{"quantities":[{"quantities":{"bait":{"value":1}}}]}}}}`), hc}
}

// offer waits for an offer and gives its id.
func (e *enemy) offer() string { return field(e.event("OFFERS"), "offers", "offers", "id", "value") }

// accept launches tasks on an offer.
func (e *enemy) accept(offer string, tasks ...*mesosv1.TaskInfo) reply {
	e.t.Helper()
	c := &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), FrameworkId: &mesosv1.FrameworkID{Value: &e.framework}, Accept: &scheduler.Call_Accept{
		OfferIds: []*mesosv1.OfferID{{Value: &offer}}, Filters: &mesosv1.Filters{RefuseSeconds: proto.Float64(0)},
		Operations: []*mesosv1.Offer_Operation{{Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: tasks}}},
	}}
	b, err := proto.Marshal(c)
	must(e.t, err)
	return ask(e.t, e.hc, http.MethodPost, e.url, string(b), "Content-Type", "application/x-protobuf", "Mesos-Stream-Id", e.id)
}

// on makes a task for a lying agent.
func on(l *liar, id string, data []byte, resources ...*mesosv1.Resource) *mesosv1.TaskInfo {
	return &mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: &l.id}, Resources: resources,
		Command: &mesosv1.CommandInfo{Value: new("true")}, Data: data,
	}
}
