package loop

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func join(dst []byte, items []string) []byte { return append(dst, strings.Join(items, "")...) }

// pipe is an outbox on one end of a connection, and the other end.
func pipe(t *testing.T, limits OutboxLimits) (o *Outbox[string], peer net.Conn, cuts chan string) {
	t.Helper()
	here, there := net.Pipe()
	cuts = make(chan string, 2)
	return NewOutbox(here, join, limits, func(why string) { cuts <- why }), there, cuts
}

func TestAnOutboxWritesInOrderAndClosesWhenItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, peer, cuts := pipe(t, OutboxLimits{})
		for _, s := range []string{"a", "b", "c"} {
			o.Send(s, 1)
		}
		o.Finish()
		o.Send("late", 4)
		got, err := io.ReadAll(peer)
		if err != nil || !bytes.Equal(got, []byte("abc")) {
			t.Errorf("the peer read %q, %v", got, err)
		}
		synctest.Wait()
		if len(cuts) != 0 {
			t.Errorf("an outbox that finished was cut: %s", <-cuts)
		}
	})
}

func TestAPeerThatDoesNotReadIsCutOnce(t *testing.T) {
	t.Run("when too much waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, peer, cuts := pipe(t, OutboxLimits{Bytes: 10})
			defer peer.Close()
			o.Send("first", 5)
			synctest.Wait() // it is being written, and does not wait any more
			for range 5 {
				o.Send("more", 4)
			}
			synctest.Wait()
			if why := <-cuts; !strings.Contains(why, "more waits") {
				t.Errorf("it was cut because %s", why)
			}
			if len(cuts) != 0 {
				t.Error("it was cut twice")
			}
		})
	})
	t.Run("when a write takes too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, peer, cuts := pipe(t, OutboxLimits{Age: 3 * time.Second})
			defer peer.Close()
			start := time.Now()
			o.Send("never read", 5)
			<-cuts
			if d := time.Since(start); d != 3*time.Second {
				t.Errorf("it was cut after %s", d)
			}
			o.Send("nobody", 6)
			o.Close()
			synctest.Wait()
			if len(cuts) != 0 {
				t.Error("it was cut twice")
			}
		})
	})
}
