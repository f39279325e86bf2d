package fleet

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos"
)

// Load is a scheduler that launches tasks as fast as it is let, and acknowledges each update by a request of its own. It
// is lean, since it shares the machine with the master that it measures.
type Load struct {
	Master string
	JSON   bool
	// Tasks to launch in all, InFlight at once, PerOffer at most on one offer.
	Tasks, InFlight, PerOffer int
	// Connections for calls.
	Connections int
	// Command of each task ("true" when empty), and what it asks for (0.01 cpus and 8 MB when zero).
	Command   string
	CPUs, Mem float64

	framework, stream, contentType string
	callers                        []*caller
	next                           atomic.Uint32

	// Running counts tasks whose TASK_RUNNING was acknowledged, Ended those whose last update was, Bad those that did not
	// finish.
	Running, Ended, Bad atomic.Int64
	launched            int
	seen                []uint8 // of each task, how far it was told to be
	held                []offer // that lie here until there is room
}

// caller sends calls over one connection, several at a time, and counts the answers.
type caller struct {
	conn net.Conn
	mu   sync.Mutex
	buf  []byte
	wake chan struct{}
	err  atomic.Value
}

// Run subscribes and launches until every task has ended. progress is called for every so many tasks that run.
func (l *Load) Run(ctx context.Context, progress func(running int64)) error {
	l.contentType = "application/x-protobuf"
	if l.JSON {
		l.contentType = "application/json"
	}
	l.Command, l.CPUs, l.Mem = cmp.Or(l.Command, "true"), cmp.Or(l.CPUs, 0.01), cmp.Or(l.Mem, 8)
	l.seen = make([]uint8, l.Tasks)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := l.encode(&scheduler.Call{Type: scheduler.Call_SUBSCRIBE.Enum(), Subscribe: &scheduler.Call_Subscribe{FrameworkInfo: &mesosv1.FrameworkInfo{
		User: new("root"), Name: new("load"), Roles: []string{"load"},
		Capabilities: []*mesosv1.FrameworkInfo_Capability{
			{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
			{Type: mesosv1.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
			{Type: mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT.Enum()},
		},
	}}})
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Master)
	if err != nil {
		return err
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the reading below
	if _, err := conn.Write(l.request(nil, body)); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 256<<10)
	resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // the body is the connection's, which is closed
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		words, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // it is only shown
		return fmt.Errorf("subscribing: %s: %s", resp.Status, words)
	}
	l.stream = resp.Header.Get("Mesos-Stream-Id")
	for range max(l.Connections, 1) {
		c, err := newCaller(ctx, l.Master)
		if err != nil {
			return err
		}
		l.callers = append(l.callers, c)
	}
	records := mesos.NewRecordReader(bufio.NewReaderSize(httputil.NewChunkedReader(r), 256<<10), 64<<20)
	for l.Ended.Load() < int64(l.Tasks) {
		rec, err := records.Next()
		if err != nil {
			return fmt.Errorf("the stream of events ended: %w", err)
		}
		if err := l.event(rec, progress); err != nil {
			return err
		}
	}
	return nil
}

func (l *Load) encode(c *scheduler.Call) ([]byte, error) {
	if l.JSON {
		return mesos.AppendJSON(nil, c)
	}
	return proto.Marshal(c)
}

// request appends an HTTP request.
func (l *Load) request(dst, body []byte) []byte {
	dst = append(dst, "POST /api/v1/scheduler HTTP/1.1\r\nHost: "...)
	dst = append(dst, l.Master...)
	dst = append(dst, "\r\nContent-Type: "...)
	dst = append(dst, l.contentType...)
	dst = append(dst, "\r\nAccept: "...)
	dst = append(dst, l.contentType...)
	if l.stream != "" {
		dst = append(dst, "\r\nMesos-Stream-Id: "...)
		dst = append(dst, l.stream...)
	}
	dst = append(dst, "\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// event is what is read of one event; updates, which come by the thousand, are read by hand.
func (l *Load) event(rec []byte, progress func(int64)) error {
	if l.JSON {
		return l.jsonEvent(rec, progress)
	}
	var e scheduler.Event
	if err := proto.Unmarshal(rec, &e); err != nil {
		return err
	}
	switch e.GetType() {
	case scheduler.Event_SUBSCRIBED:
		l.framework = e.GetSubscribed().GetFrameworkId().GetValue()
	case scheduler.Event_UPDATE:
		s := e.GetUpdate().GetStatus()
		return l.update(s.GetTaskId().GetValue(), s.GetAgentId().GetValue(), s.GetState(), s.GetUuid(), progress)
	case scheduler.Event_OFFERS:
		for _, o := range e.GetOffers().GetOffers() {
			if err := l.offer(o.GetId().GetValue(), o.GetAgentId().GetValue(), cpus(o.GetResources())); err != nil {
				return err
			}
		}
	case scheduler.Event_ERROR:
		return errors.New(e.GetError().GetMessage())
	}
	return nil
}

// jsonEvent reads as much of an event as is needed, by looking for it: a real parser of a megabyte of offers would be most
// of what is measured.
func (l *Load) jsonEvent(rec []byte, progress func(int64)) error {
	kind, _ := after(rec, `"type":"`)
	switch {
	case bytes.HasPrefix(kind, []byte("UPDATE\"")):
		task, _ := after(rec, `"task_id":{"value":"`)
		agent, _ := after(rec, `"agent_id":{"value":"`)
		state, _ := after(rec, `"state":"`)
		id, ok := after(rec, `"uuid":"`)
		var uuid []byte
		if ok {
			var err error
			if uuid, err = base64.StdEncoding.DecodeString(word(id)); err != nil {
				return err
			}
		}
		return l.update(word(task), word(agent), mesosv1.TaskState(mesosv1.TaskState_value[word(state)]), uuid, progress)
	case bytes.HasPrefix(kind, []byte("OFFERS\"")):
		for {
			id, ok := after(rec, `"id":{"value":"`)
			if !ok {
				return nil
			}
			agent, _ := after(id, `"agent_id":{"value":"`)
			amount, _ := after(agent, `"cpus","type":"SCALAR","scalar":{"value":`)
			if end := bytes.IndexByte(amount, '}'); end >= 0 {
				amount = amount[:end]
			}
			n, err := strconv.ParseFloat(string(amount), 64)
			if err != nil {
				return fmt.Errorf("an offer without cpus: %w", err)
			}
			if err := l.offer(word(id), word(agent), n); err != nil {
				return err
			}
			rec = agent
		}
	case bytes.HasPrefix(kind, []byte("SUBSCRIBED\"")):
		id, _ := after(rec, `"framework_id":{"value":"`)
		l.framework = word(id)
	case bytes.HasPrefix(kind, []byte("ERROR\"")):
		return fmt.Errorf("the master says %s", rec)
	}
	return nil
}

// after is what follows a text.
func after(b []byte, text string) ([]byte, bool) {
	i := bytes.Index(b, []byte(text))
	if i < 0 {
		return nil, false
	}
	return b[i+len(text):], true
}

// word is what comes before the next quote.
func word(b []byte) string {
	before, _, ok := bytes.Cut(b, []byte{'"'})
	if !ok {
		return ""
	}
	return string(before)
}

func (l *Load) update(task, agent string, state mesosv1.TaskState, uuid []byte, progress func(int64)) error {
	if len(uuid) > 0 {
		body, err := l.encode(&scheduler.Call{
			FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_ACKNOWLEDGE.Enum(),
			Acknowledge: &scheduler.Call_Acknowledge{AgentId: &mesosv1.AgentID{Value: &agent}, TaskId: &mesosv1.TaskID{Value: &task}, Uuid: uuid},
		})
		if err != nil {
			return err
		}
		if err := l.call(body); err != nil {
			return err
		}
	}
	n, err := strconv.Atoi(strings.TrimPrefix(task, "t"))
	if err != nil || n >= len(l.seen) || l.seen[n] >= stage(state) {
		return nil //nolint:nilerr // not ours, or told again
	}
	l.seen[n] = stage(state)
	switch state {
	case mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_STAGING, mesosv1.TaskState_TASK_KILLING:
	case mesosv1.TaskState_TASK_RUNNING:
		progress(l.Running.Add(1))
	default:
		l.Ended.Add(1)
		if state != mesosv1.TaskState_TASK_FINISHED {
			l.Bad.Add(1)
		}
		return l.use()
	}
	return nil
}

// stage orders states.
func stage(s mesosv1.TaskState) uint8 {
	switch s {
	case mesosv1.TaskState_TASK_STAGING:
		return 0
	case mesosv1.TaskState_TASK_STARTING:
		return 1
	case mesosv1.TaskState_TASK_RUNNING:
		return 2
	case mesosv1.TaskState_TASK_KILLING:
		return 3
	}
	return 4
}

// offer is one that lies here, for so many tasks.
type offer struct {
	id, agent string
	tasks     int
}

func cpus(rs []*mesosv1.Resource) float64 {
	for _, r := range rs {
		if r.GetName() == "cpus" {
			return r.GetScalar().GetValue()
		}
	}
	return 0
}

// offer takes an offer in.
func (l *Load) offer(id, agent string, cpus float64) error {
	o := offer{id, agent, min(l.PerOffer, int(cpus/l.CPUs+1e-6))}
	if o.tasks == 0 { // a crumb; it comes again when it has grown
		return l.decline(o)
	}
	l.held = append(l.held, o)
	return l.use()
}

func (l *Load) decline(o offer) error {
	body, err := l.encode(&scheduler.Call{
		FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_DECLINE.Enum(),
		Decline: &scheduler.Call_Decline{OfferIds: []*mesosv1.OfferID{{Value: &o.id}}, Filters: &mesosv1.Filters{RefuseSeconds: proto.Float64(1)}},
	})
	if err != nil {
		return err
	}
	return l.call(body)
}

// use launches tasks on offers while there is room for them.
func (l *Load) use() error {
	for len(l.held) > 0 {
		o := l.held[0]
		n := min(o.tasks, l.Tasks-l.launched, l.InFlight-(l.launched-int(l.Ended.Load())))
		if n <= 0 || n < o.tasks && l.Tasks-l.launched > n {
			return nil
		}
		l.held = l.held[1:]
		if err := l.launch(o, n); err != nil {
			return err
		}
	}
	return nil
}

// launch launches tasks on an offer.
func (l *Load) launch(o offer, n int) error {
	var tasks []*mesosv1.TaskInfo
	role := &mesosv1.Resource_AllocationInfo{Role: new("load")}
	for range n {
		id := "t" + strconv.Itoa(l.launched)
		l.launched++
		tasks = append(tasks, &mesosv1.TaskInfo{
			Name: new("load"), TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: &o.agent},
			Command: &mesosv1.CommandInfo{Value: &l.Command},
			Resources: []*mesosv1.Resource{
				{Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &l.CPUs}, AllocationInfo: role},
				{Name: new("mem"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &l.Mem}, AllocationInfo: role},
			},
		})
	}
	body, err := l.encode(&scheduler.Call{
		FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_ACCEPT.Enum(),
		Accept: &scheduler.Call_Accept{
			OfferIds: []*mesosv1.OfferID{{Value: &o.id}}, Filters: &mesosv1.Filters{RefuseSeconds: proto.Float64(0)},
			Operations: []*mesosv1.Offer_Operation{{
				Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: tasks},
			}},
		},
	})
	if err != nil {
		return err
	}
	return l.call(body)
}

func (l *Load) call(body []byte) error {
	c := l.callers[int(l.next.Add(1))%len(l.callers)]
	if err, ok := c.err.Load().(error); ok {
		return err
	}
	c.mu.Lock()
	first := len(c.buf) == 0
	c.buf = l.request(c.buf, body)
	c.mu.Unlock()
	if first {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

func newCaller(ctx context.Context, addr string) (*caller, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &caller{conn: conn, wake: make(chan struct{}, 1)}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends both goroutines
	go func() {
		var out []byte
		for {
			select {
			case <-c.wake:
			case <-ctx.Done():
				return
			}
			c.mu.Lock()
			out, c.buf = c.buf, out[:0]
			c.mu.Unlock()
			if _, err := conn.Write(out); err != nil {
				c.err.Store(err)
				return
			}
		}
	}()
	go func() {
		r := bufio.NewReaderSize(conn, 64<<10)
		for {
			line, err := r.ReadSlice('\n')
			if err == nil && bytes.HasPrefix(line, []byte("HTTP/1.1 ")) && !bytes.HasPrefix(line, []byte("HTTP/1.1 202")) {
				err = fmt.Errorf("a call was answered %s", bytes.TrimSpace(line))
			}
			if err != nil {
				if ctx.Err() == nil {
					c.err.Store(err)
				}
				return
			}
		}
	}()
	return c, nil
}
