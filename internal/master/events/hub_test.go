package events

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// listener is the other end of a subscriber.
type listener struct {
	s    *Subscriber
	conn net.Conn

	mu    sync.Mutex
	heard []string
	ended bool
}

// listen notes the events that come, in few words, until the stream ends.
func (l *listener) listen(json bool) {
	records := mesos.NewRecordReader(httputil.NewChunkedReader(bufio.NewReader(l.conn)), 1<<20)
	for {
		b, err := records.Next()
		l.mu.Lock()
		if err != nil {
			l.ended = err == io.EOF
			l.mu.Unlock()
			return
		}
		decode := mesos.DecodeProto
		if json {
			decode = mesos.UnmarshalJSON
		}
		var e master.Event
		words := fmt.Sprint(decode(b, &e))
		if words == "<nil>" {
			words = strings.TrimSpace(e.GetType().String() + " " + e.GetTaskAdded().GetTask().GetName())
			if s := e.GetSubscribed(); s != nil {
				words += fmt.Sprint(len(s.GetGetState().GetGetTasks().GetTasks()), " ", s.GetHeartbeatIntervalSeconds())
			}
		}
		l.heard = append(l.heard, words)
		l.mu.Unlock()
	}
}

func (l *listener) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.heard, ", ")
}

// house is a hub and a book's view.
type house struct {
	hub  *Hub
	view *cluster.View
	cut  []string
	ids  uint64
}

func newHouse(c Config) *house {
	h := &house{view: cluster.New(cluster.Defaults(), nil, machine.Now{Mono: 1, Wall: 1}, rand.New(rand.NewPCG(1, 2))).View()}
	c.Clock, c.About, c.Heartbeat, c.Age = clock.Real(), &reads.About{}, 15*time.Second, 30*time.Second
	c.Cut = func(who, why string) { h.cut = append(h.cut, who+": "+why) }
	h.hub = New(c)
	return h
}

// join adds a subscriber who has not begun.
func (h *house) join(t *testing.T, json bool, may func(string) bool, who string) *listener {
	t.Helper()
	here, there := net.Pipe()
	h.ids++
	s, err := h.hub.Add(h.ids, here, json, may, who)
	if err != nil {
		t.Fatal(err)
	}
	return &listener{s: s, conn: there}
}

func added(user, name string) cluster.Fact {
	f := &cluster.Framework{Spec: &cluster.FrameworkSpec{ID: "f", User: user}}
	task := &cluster.Task{Framework: "f", Agent: "a", Spec: &cluster.TaskSpec{ID: name, Name: name}, State: mesosv1.TaskState_TASK_STAGING}
	return cluster.Fact{Kind: cluster.FactTaskLaunched, FrameworkIs: f, TaskIs: task}
}

func observed(l *listener) cluster.Fact {
	return cluster.Fact{Kind: cluster.FactObserved, N: int(l.s.id)}
}

func TestASubscriberHearsFromHisFactOnWhatHeMaySee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{Bytes: 1 << 20})
		root, bob := h.join(t, true, nil, "root"), h.join(t, false, func(u string) bool { return u == "bob" }, "bob")
		go root.listen(true)
		go bob.listen(false)
		h.hub.Tell([]cluster.Fact{added("bob", "before")}, h.view)
		h.hub.Tell([]cluster.Fact{observed(root), added("bob", "in its turn"), observed(bob)}, h.view) // the view has it
		h.hub.Tell([]cluster.Fact{added("amy", "1"), added("bob", "2"), added("bob", "3"), added("amy", "4")}, h.view)
		h.hub.Tell([]cluster.Fact{{Kind: cluster.FactAllocated}, added("bob", "5")}, h.view)
		time.Sleep(time.Second)
		synctest.Wait()
		begin := "SUBSCRIBED0 15, HEARTBEAT, "
		if d := cmp.Diff(begin+"TASK_ADDED 1, TASK_ADDED 2, TASK_ADDED 3, TASK_ADDED 4, TASK_ADDED 5", root.said()); d != "" {
			t.Errorf("root: %s", d)
		}
		if d := cmp.Diff(begin+"TASK_ADDED 2, TASK_ADDED 3, TASK_ADDED 5", bob.said()); d != "" {
			t.Errorf("bob: %s", d)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := strings.Count(root.said(), "HEARTBEAT"); got != 3 {
			t.Errorf("%d heartbeats in 31 s", got)
		}
		h.hub.Close()
		if _, err := h.hub.Add(9, root.conn, true, nil, ""); err == nil {
			t.Error("a closed hub takes a subscriber")
		}
	})
}

func TestWhoDoesNotReadIsCutOffAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{Bytes: 8_000})
		reads, sleeps := h.join(t, true, nil, "reads"), h.join(t, true, nil, "sleeps")
		go reads.listen(true)
		h.hub.Tell([]cluster.Fact{observed(reads), observed(sleeps)}, h.view)
		for i := range 100 {
			h.hub.Tell([]cluster.Fact{added("amy", fmt.Sprint(i))}, h.view)
			time.Sleep(20 * time.Millisecond)
		}
		synctest.Wait()
		if got := strings.Count(reads.said(), "TASK_ADDED"); got != 100 {
			t.Errorf("the one who reads heard %d of 100", got)
		}
		if d := cmp.Diff([]string{"sleeps: it does not read: more waits for it than may"}, h.cut); d != "" {
			t.Errorf("cut off: %s", d)
		}
		h.hub.Remove(sleeps.s)
		if h.hub.Len() != 1 {
			t.Errorf("%d subscribers", h.hub.Len())
		}
		slow := h.join(t, true, nil, "slow") // with little to read, he is given up for the time
		h.hub.Tell([]cluster.Fact{observed(slow)}, h.view)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if len(h.cut) != 2 || !strings.HasPrefix(h.cut[1], "slow: writing to it failed") {
			t.Errorf("cut off: %q", h.cut)
		}
		h.hub.Close()
	})
}

func TestTheOldestMakesRoomForANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{Bytes: 1 << 20, Max: 2})
		all := []*listener{h.join(t, true, nil, "a"), h.join(t, true, nil, "b")}
		for _, l := range all {
			go l.listen(true)
			h.hub.Tell([]cluster.Fact{observed(l)}, h.view)
		}
		time.Sleep(time.Second)
		all = append(all, h.join(t, true, nil, "c"))
		go all[2].listen(true)
		h.hub.Tell([]cluster.Fact{observed(all[2]), added("amy", "1")}, h.view)
		h.hub.Tell([]cluster.Fact{added("amy", "2")}, h.view)
		time.Sleep(time.Second)
		synctest.Wait()
		if !all[0].ended || strings.Contains(all[0].said(), "TASK_ADDED") || h.hub.Len() != 2 || len(h.cut) != 0 {
			t.Errorf("the oldest: ended %v, heard %s; %d subscribers, cut %q", all[0].ended, all[0].said(), h.hub.Len(), h.cut)
		}
		for i, want := range []string{1: "TASK_ADDED 1, TASK_ADDED 2", 2: "HEARTBEAT, TASK_ADDED 2"} {
			if i > 0 && !strings.HasSuffix(all[i].said(), want) {
				t.Errorf("subscriber %d heard %s, want %s", i, all[i].said(), want)
			}
		}
		h.hub.Close()
	})
}

func TestOfOnePeerFewSnapshotsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(Config{Bytes: 1 << 20})
		var idle []*listener // they read nothing
		for range 10 {
			idle = append(idle, h.join(t, true, nil, "hoarder"))
		}
		var facts []cluster.Fact
		var honest []*listener
		for range 5 {
			l := h.join(t, true, nil, "honest")
			go l.listen(true)
			honest = append(honest, l)
		}
		for _, l := range append(idle, honest...) {
			facts = append(facts, observed(l))
		}
		h.hub.Tell(facts, h.view)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := len(h.hub.turns.all); got != ownSnapshots {
			t.Errorf("%d snapshots are under way", got)
		}
		for _, l := range honest {
			if l.said() != "SUBSCRIBED0 15, HEARTBEAT" {
				t.Errorf("an honest one heard %q", l.said())
			}
		}
		h.hub.Close()
		synctest.Wait()
		if len(h.hub.turns.all) != 0 || len(h.hub.turns.own) != 0 {
			t.Errorf("after the end %d are under way, of %d peers", len(h.hub.turns.all), len(h.hub.turns.own))
		}
	})
}

func TestNobodyWhoListensCostsNothing(t *testing.T) {
	h := newHouse(Config{Bytes: 1 << 20})
	facts := []cluster.Fact{added("amy", "1"), added("amy", "2")}
	if n := testing.AllocsPerRun(100, func() { h.hub.Tell(facts, h.view) }); n != 0 || h.hub.queue != nil {
		t.Errorf("%v allocations, %d events wait", n, len(h.hub.queue))
	}
}

func TestAChunkIsOneRecordWhateverItsLength(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10, 99, 100, 1000, 70_000} {
		want := bytes.Repeat([]byte{'x'}, n)
		chunked := append(serve.AppendChunk(nil, want), serve.EndOfStream...)
		got, err := mesos.NewRecordReader(httputil.NewChunkedReader(bytes.NewReader(chunked)), 1<<20).Next()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %v, %d come back", n, err, len(got))
		}
	}
}

func TestAPlaceThatIsLeftIsTakenByWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurnstile()
		in := make(chan func(), 2*ownSnapshots) // how those who came in leave
		for range cap(in) {
			go func() {
				l, err := turns.enter("a", nil)
				if err != nil {
					t.Error(err)
				}
				in <- l
			}()
			synctest.Wait()
		}
		if len(in) != ownSnapshots {
			t.Errorf("%d are in", len(in))
		}
		gone := make(chan struct{})
		close(gone)
		if _, err := turns.enter("a", gone); err == nil {
			t.Error("one who is gone waits for a place")
		}
		for range ownSnapshots {
			(<-in)()
			synctest.Wait()
		}
		if len(in) != ownSnapshots {
			t.Errorf("%d came in after them", len(in))
		}
		for len(in) > 0 {
			(<-in)()
		}
		if len(turns.own) != 0 || len(turns.all) != 0 {
			t.Errorf("%d peers are remembered, %d places taken", len(turns.own), len(turns.all))
		}
	})
}
