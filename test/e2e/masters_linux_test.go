package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// lease is short, so that a frozen leader is not waited for long.
const lease = 3 * time.Second

// etcd starts an etcd of its own, which ends with the test, and gives its address.
func etcd(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("there is no etcd in PATH (Debian: etcd-server), which several masters share")
	}
	clients, peers, dir := freeAddr(t), freeAddr(t), fresh()
	out, err := os.Create(fresh())
	must(t, err)
	defer out.Close()
	cmd := exec.Command(path, "--data-dir", dir, "--listen-client-urls", "http://"+clients, "--advertise-client-urls", "http://"+clients,
		"--listen-peer-urls", "http://"+peers, "--initial-advertise-peer-urls", "http://"+peers, "--initial-cluster", "default=http://"+peers)
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	})
	eventually(t, "etcd to listen", func() error {
		c, err := net.Dial("tcp", clients)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return clients
}

// council is a few masters that share a store, watched for how many lead.
type council struct {
	t       *testing.T
	masters []*node
	http    *http.Client

	mu     sync.Mutex
	leader *node // the last one that was seen
	lapsed bool  // a leader that was frozen may answer for a moment, until it finds out
}

func newCouncil(t *testing.T, n int) *council {
	t.Helper()
	g := &council{t: t, http: &http.Client{Timeout: 300 * time.Millisecond, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	store := "etcd://" + etcd(t)
	for range n {
		m := newNode(t, "master", "--store", store, "--lease-ttl", lease.String(), "--agent-ping-timeout", "2s", "--log", "info")
		m.start()
		g.masters = append(g.masters, m)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			g.look()
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done; g.http.CloseIdleConnections() })
	return g
}

// look asks every master at once whether it leads.
func (g *council) look() {
	var wg sync.WaitGroup
	leads := make([]bool, len(g.masters))
	for i, m := range g.masters {
		wg.Go(func() {
			r, err := g.http.Get("http://" + m.master + "/state-summary")
			if err == nil {
				_ = r.Body.Close() // only the status counts
				leads[i] = r.StatusCode == http.StatusOK
			}
		})
	}
	wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var who []*node
	for i, m := range g.masters {
		if leads[i] {
			who = append(who, m)
		}
	}
	if len(who) == 1 {
		g.leader = who[0]
	}
	if len(who) > 1 && !g.lapsed {
		g.t.Errorf("%d masters lead at once", len(who))
	}
}

func (g *council) addresses() []string {
	var out []string
	for _, m := range g.masters {
		out = append(out, m.master)
	}
	return out
}

// leading waits for a leader other than one.
func (g *council) leading(not *node) *node {
	g.t.Helper()
	var now *node
	eventually(g.t, "a leader", func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if now = g.leader; now == nil || now == not {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	return now
}

func (g *council) mayLapse(may bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapsed = may
}

// crowd is a framework that launches all the while, and remembers what it asked for.
type crowd struct {
	*framework
	log string // each task writes its name there, once
	ids []string
}

// more launches a few tasks; whether the call arrived is found out later.
func (c *crowd) more(n int) {
	c.t.Helper()
	var list []*mesosv1.TaskInfo
	for range n {
		id := fmt.Sprintf("%s-%d", filepath.Base(c.log), len(c.ids))
		c.ids = append(c.ids, id)
		list = append(list, task(id, "echo "+id+" >> "+c.log))
	}
	_ = c.accept(list...) // it may be lost with a leader
}

// flow launches until a task of its own has ended, and gives how long after since that was, and when the first offer came.
func (c *crowd) flow(since time.Time) (offer, end time.Duration) {
	c.t.Helper()
	c.offered()
	offer = time.Since(since)
	for {
		first := len(c.ids)
		c.more(1)
		deadline := time.Now().Add(2 * time.Second)
		for time.Now().Before(deadline) {
			c.mu.Lock()
			ended := false
			for _, s := range c.statuses[c.ids[first]] {
				ended = ended || s.GetState() == finished
			}
			c.mu.Unlock()
			if ended {
				return offer, time.Since(since)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// settle waits until every task has ended or is known to be lost, and checks that none ran twice or ended twice.
func (c *crowd) settle() {
	c.t.Helper()
	eventually(c.t, "every launch to be settled", func() error {
		var open []string
		c.mu.Lock()
		for _, id := range c.ids {
			if all := c.statuses[id]; len(all) == 0 || !terminal(all[len(all)-1]) {
				open = append(open, id)
			}
		}
		c.mu.Unlock()
		if len(open) == 0 {
			return nil
		}
		r := &scheduler.Call_Reconcile{}
		for _, id := range open {
			r.Tasks = append(r.Tasks, &scheduler.Call_Reconcile_Task{TaskId: &mesosv1.TaskID{Value: new(id)}})
		}
		err := c.s.Call(c.t.Context(), &scheduler.Call{Type: scheduler.Call_RECONCILE.Enum(), Reconcile: r})
		time.Sleep(200 * time.Millisecond)
		return fmt.Errorf("%d of %d are open, such as %s (%v)", len(open), len(c.ids), open[0], err)
	})
	wrote, err := os.ReadFile(c.log)
	must(c.t, err)
	runs := map[string]int{}
	for id := range strings.FieldsSeq(string(wrote)) {
		runs[id]++
	}
	ran := 0
	for _, id := range c.ids {
		c.mu.Lock()
		all := c.statuses[id]
		last := all[len(all)-1]
		c.mu.Unlock()
		switch {
		case runs[id] > 1:
			c.t.Errorf("%s ran %d times", id, runs[id])
		case last.GetState() == finished && runs[id] != 1:
			c.t.Errorf("%s is said to have finished, and ran %d times", id, runs[id])
		case last.GetState() != finished && runs[id] != 0:
			c.t.Errorf("%s ran, and is told as %s %s: %s", id, last.GetState(), last.GetReason(), last.GetMessage())
		}
		if runs[id] == 1 {
			ran++
			c.oneEnd(id, finished)
		}
	}
	c.t.Logf("of %d launches %d ran, and the others were lost on their way", len(c.ids), ran)
}

func toMasters(addresses []string) options {
	return func(o *client.SchedulerOptions) { o.Masters = addresses }
}

func TestThreeMastersLeadOneAtATime(t *testing.T) {
	need(t, true)
	g := newCouncil(t, 3)
	agent := newNode(t, "agent", "--master", strings.Join(g.addresses(), ","), "--log", "info")
	agent.start()
	first := g.leading(nil)
	c := &crowd{framework: subscribe(t, "", toMasters(g.addresses())), log: fresh()}
	long := ids("masters-long", 5)
	c.launch(tasks(long, "exec sleep 600")...)
	ran := processesOf(t)
	c.more(10)

	// The leader is killed while tasks are on their way.
	c.more(10)
	begun, times := time.Now(), c.subscriptions()
	first.signal(syscall.SIGKILL)
	c.more(1)
	second := g.leading(first)
	led := time.Since(begun)
	c.resubscribed(times)
	offer, end := c.flow(begun)
	t.Logf("leader killed: another leads after %.1f s, offers flow after %.1f s, a task has ended after %.1f s", led.Seconds(), offer.Seconds(), end.Seconds())
	first.start() // as a standby

	// The next one is frozen, which its schedulers cannot tell from an idle one; a new scheduler finds the next leader.
	c.more(10)
	begun, times = time.Now(), c.subscriptions()
	must(t, second.cmd.Process.Signal(syscall.SIGSTOP))
	third := g.leading(second)
	led = time.Since(begun)
	late := &crowd{framework: subscribe(t, third.master), log: fresh()}
	offer, end = late.flow(begun)
	t.Logf("leader frozen: another leads after %.1f s, offers flow after %.1f s, a task has ended after %.1f s", led.Seconds(), offer.Seconds(), end.Seconds())
	g.mayLapse(true)
	must(t, second.cmd.Process.Signal(syscall.SIGCONT))
	woken := time.Now()
	c.resubscribed(times)
	t.Logf("it finds out that it does not lead after %.1f s", time.Since(woken).Seconds())
	time.Sleep(time.Until(woken.Add(time.Second)))
	g.mayLapse(false)
	offer, _ = c.flow(woken)
	t.Logf("its scheduler has offers of the new one after %.1f s", offer.Seconds())
	c.more(10)

	c.settle()
	late.settle()
	now := processesOf(t)
	for _, id := range long {
		if len(now[id]) != 1 || now[id][0] != ran[id][0] {
			t.Errorf("%s ran as %v and runs as %v", id, ran[id], now[id])
		}
		must(t, c.kill(id))
	}
	for _, id := range long {
		c.end(id)
		c.oneEnd(id, killed)
	}
}
