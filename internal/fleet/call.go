package fleet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos"
)

const (
	dialWithin  = 5 * time.Second
	heartbeat   = 15 * time.Second // between two events, at most
	missedBeats = 4                // after so many a master is given up
)

// Kinds of calls, as they are counted.
const (
	ackCall = iota
	acceptCall
	otherCall
	callKinds
)

// CallCount counts calls of a kind, and the bytes of their bodies.
type CallCount struct {
	Calls int64 `json:"calls"`
	Bytes int64 `json:"bytes"`
}

// Calls are what a Load has sent so far: how many acknowledgements, ACCEPTs and other calls, and in how many writes.
type Calls struct {
	Acknowledge CallCount `json:"acknowledge"`
	Accept      CallCount `json:"accept"`
	Other       CallCount `json:"other"`
	Writes      int64     `json:"writes"`
}

// Calls gives the counts of now.
func (l *Load) Calls() Calls {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Calls{Acknowledge: l.calls[ackCall], Accept: l.calls[acceptCall], Other: l.calls[otherCall], Writes: l.writes.Load()}
}

// refusal is an answer that no other master would give.
type refusal struct{ words string }

func (r *refusal) Error() string { return r.words }

// stream is the one of events.
type stream struct {
	conn    net.Conn
	records *mesos.RecordReader
	id      string
	renewed time.Time
}

// next is the next event. A master that sends no heartbeats any more is given up.
func (s *stream) next() ([]byte, error) {
	if now := time.Now(); now.Sub(s.renewed) > time.Second {
		s.renewed = now
		if err := s.conn.SetReadDeadline(now.Add(missedBeats * heartbeat)); err != nil {
			return nil, err
		}
	}
	return s.records.Next()
}

// subscribe opens the stream of events at a master; elsewhere is where another one leads.
func (l *Load) subscribe(ctx context.Context, addr string) (s *stream, elsewhere string, err error) {
	info := &mesosv1.FrameworkInfo{
		User: new("root"), Name: new("load"), Roles: []string{"load"},
		Capabilities: []*mesosv1.FrameworkInfo_Capability{
			{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
			{Type: mesosv1.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
			{Type: mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT.Enum()},
		},
	}
	call := &scheduler.Call{Type: scheduler.Call_SUBSCRIBE.Enum(), Subscribe: &scheduler.Call_Subscribe{FrameworkInfo: info}}
	if l.Failover > 0 {
		info.FailoverTimeout = new(l.Failover.Seconds())
	}
	if l.framework != "" {
		info.Id = &mesosv1.FrameworkID{Value: &l.framework}
		call.FrameworkId = info.Id
	}
	body, err := l.encode(call)
	if err != nil {
		return nil, "", err
	}
	conn, err := (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, "", err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })                 // ends the reading; the session's end does, too
	if err := conn.SetDeadline(time.Now().Add(heartbeat)); err != nil { // a master that is frozen takes connections all the same
		return nil, "", err
	}
	if _, err := conn.Write(l.request(nil, body)); err != nil {
		return nil, "", err
	}
	r := bufio.NewReaderSize(conn, 256<<10)
	resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // the body is the connection's, which is closed
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode != http.StatusOK {
		elsewhere, err := refused(resp)
		return nil, elsewhere, err
	}
	records := mesos.NewRecordReader(bufio.NewReaderSize(httputil.NewChunkedReader(r), 256<<10), 64<<20)
	return &stream{conn: conn, records: records, id: resp.Header.Get("Mesos-Stream-Id")}, "", nil
}

// refused is what comes of an answer other than 200: another master, a wait, or the end.
func refused(resp *http.Response) (elsewhere string, err error) {
	words, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // it is only shown
	err = fmt.Errorf("subscribing: %s: %s", resp.Status, bytes.TrimSpace(words))
	if resp.StatusCode == http.StatusTemporaryRedirect {
		if u, perr := url.Parse(resp.Header.Get("Location")); perr == nil {
			elsewhere = u.Host
		}
		return elsewhere, err
	}
	if resp.StatusCode/100 == 4 {
		err = &refusal{err.Error()}
	}
	return "", err
}

func (l *Load) encode(c *scheduler.Call) ([]byte, error) {
	if l.JSON {
		return mesos.AppendJSON(nil, c)
	}
	return proto.Marshal(c)
}

// request appends an HTTP request.
func (l *Load) request(dst, body []byte) []byte {
	dst = append(dst, "POST /api/v1/scheduler HTTP/1.1\r\nHost: localhost\r\nContent-Type: "...)
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

// call queues a call. The caller holds the lock.
func (l *Load) call(kind int, body []byte) error {
	if len(l.callers) == 0 {
		return errors.New("not subscribed")
	}
	l.calls[kind].Calls++
	l.calls[kind].Bytes += int64(len(body))
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

// once sends a request over a connection of its own and waits for the answer.
func (l *Load) once(addr string, request []byte) error {
	conn, err := net.DialTimeout("tcp", addr, dialWithin) //nolint:noctx // it is said when the context has ended
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(dialWithin)); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// caller sends calls over one connection, several at a time, and looks at the answers.
type caller struct {
	conn net.Conn
	mu   sync.Mutex
	buf  []byte
	wake chan struct{}
	err  atomic.Value
}

func newCaller(ctx context.Context, addr string, writes *atomic.Int64) (*caller, error) {
	conn, err := (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, "tcp", addr)
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
			writes.Add(1)
			if _, err := conn.Write(out); err != nil {
				c.err.CompareAndSwap(nil, fmt.Errorf("calling: %w", err))
				return
			}
		}
	}()
	go func() {
		r := bufio.NewReaderSize(conn, 64<<10)
		for {
			line, err := r.ReadSlice('\n')
			if err == nil && bytes.HasPrefix(line, []byte("HTTP/1.1 ")) && !bytes.HasPrefix(line, []byte("HTTP/1.1 202")) {
				err = answered(bytes.TrimSpace(line))
			}
			if err != nil {
				if ctx.Err() == nil {
					c.err.CompareAndSwap(nil, fmt.Errorf("calling: %w", err))
					_ = conn.Close() // as above
				}
				return
			}
		}
	}()
	return c, nil
}

// answered is what comes of an answer to a call other than 202. A master that does not lead says 307 or 503.
func answered(line []byte) error {
	words := fmt.Sprintf("a call was answered %s", line)
	if bytes.HasPrefix(line, []byte("HTTP/1.1 4")) {
		return &refusal{words}
	}
	return errors.New(words)
}
