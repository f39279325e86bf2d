package master

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/serve"
)

// A connection that leaves the fast path never comes back to it, so it has to wait where its sender has its share of the mailbox.
func TestAFastCallWaitsForItsSendersShareInsteadOfLeavingTheFastPath(t *testing.T) {
	m, tm := leading(t)
	full := &lane{light: make(chan struct{}), heavy: make(chan struct{})} // each input waits until the test lets it pass
	tm.byName = map[string]*stream{"F": {id: 1, token: "token", lane: full}}
	cfg := serve.Config{Log: slog.New(slog.DiscardHandler), TrustLoopback: true}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan struct{}, 100)
	s := serve.Server(cfg, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { slow <- struct{}{} }))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(m.Fast().Listen(cfg, l)) // it ends with Close
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })

	id := &mesosv1.FrameworkID{Value: new("F")}
	acknowledge := &scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE.Enum(), FrameworkId: id, Acknowledge: &scheduler.Call_Acknowledge{
		AgentId: &mesosv1.AgentID{Value: new("a")}, TaskId: &mesosv1.TaskID{Value: new("t")}, Uuid: []byte("0123456789abcdef"),
	}}
	calls := []proto.Message{acknowledge, &scheduler.Call{Type: scheduler.Call_REVIVE.Enum(), FrameworkId: id}, acknowledge}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i, c := range calls {
		b := encoded(t, c)
		if _, err := fmt.Fprintf(conn, "POST /api/v1/scheduler HTTP/1.1\r\nHost: localhost\r\nMesos-Stream-Id: token\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n%s", len(b), b); err != nil {
			t.Fatal(err)
		}
		select {
		case <-full.light: // it waited, and takes its place
		case <-slow:
			t.Fatalf("call %d went to net/http", i)
		}
		full.light <- struct{}{} // for the book to give back
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatalf("call %d is answered %v, %v", i, resp, err)
		}
		_ = resp.Body.Close() // it is empty
	}
}
