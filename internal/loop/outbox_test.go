package loop

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// words encodes texts as they are.
func words(dst []byte, items []string) []byte {
	for _, s := range items {
		dst = append(dst, s...)
	}
	return dst
}

// cuts remembers why a peer was cut off, and how often.
type cuts struct {
	n   atomic.Int32
	why atomic.Value
}

func (c *cuts) cut(why string) { c.n.Add(1); c.why.Store(why) }

func (c *cuts) expect(t *testing.T, n int32, why string) {
	t.Helper()
	got, _ := c.why.Load().(string)
	if c.n.Load() != n || !strings.Contains(got, why) {
		t.Errorf("cut off %d times (%s), want %d (%s)", c.n.Load(), got, n, why)
	}
}

// box makes an outbox on one end of a pipe and gives the other. The pipe keeps nothing: what is written waits for a reader.
func box(t *testing.T, limits OutboxLimits) (*Outbox[string], net.Conn, *cuts) {
	t.Helper()
	near, far := net.Pipe()
	c := &cuts{}
	o := NewOutbox(near, words, limits, c.cut)
	t.Cleanup(func() { o.Close(); _ = far.Close() }) // either may be closed
	return o, far, c
}

func TestWhatIsSentArrivesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, far, c := box(t, OutboxLimits{})
		for _, s := range []string{"one ", "two ", "three"} {
			o.Send(s, len(s))
		}
		o.Finish()
		o.Send("too late", 8)
		b, err := io.ReadAll(far)
		if string(b) != "one two three" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		c.expect(t, 0, "")
	})
}

func TestFinishOfAnIdleOutboxClosesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, far, c := box(t, OutboxLimits{})
		o.Finish()
		if b, err := io.ReadAll(far); len(b) != 0 || err != nil {
			t.Errorf("%q %v", b, err)
		}
		c.expect(t, 0, "")
	})
}

func TestAPeerThatDoesNotReadIsCutOffAtTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, far, c := box(t, OutboxLimits{Bytes: 100, Age: time.Hour})
		o.Send(strings.Repeat("x", 60), 60)
		synctest.Wait() // these are being written
		o.Send(strings.Repeat("y", 100), 100)
		c.expect(t, 0, "")
		o.Send("z", 1)
		c.expect(t, 1, "does not read")
		o.Send("z", 1000)
		synctest.Wait()
		c.expect(t, 1, "does not read")
		if _, err := io.ReadAll(far); err != nil {
			t.Error(err)
		}
	})
}

func TestSendNeverWaitsForAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, c := box(t, OutboxLimits{Age: time.Hour})
		begun := time.Now()
		for range 10_000 {
			o.Send("x", 1)
		}
		if d := time.Since(begun); d > 0 {
			t.Errorf("it took %s", d)
		}
		c.expect(t, 0, "")
	})
}

func TestAWriteThatTakesTooLongCutsThePeerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, far, c := box(t, OutboxLimits{Age: 30 * time.Second})
		o.Send("x", 1)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		c.expect(t, 0, "")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		c.expect(t, 1, "timeout")
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection stays: %v", err)
		}
	})
}

func TestASlowPeerThatReadsIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, far, c := box(t, OutboxLimits{Bytes: 100, Age: 10 * time.Second})
		buf := make([]byte, 100)
		for range 20 { // longer in all than one write may take, more in all than may wait
			o.Send("0123456789", 10)
			time.Sleep(5 * time.Second)
			if n, err := far.Read(buf); n != 10 || err != nil {
				t.Fatalf("%d %v", n, err)
			}
		}
		c.expect(t, 0, "")
	})
}

func TestAPeerThatIsGoneIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, far, c := box(t, OutboxLimits{})
		_ = far.Close() // the peer leaves
		for range 3 {
			o.Send("x", 1)
			synctest.Wait()
		}
		c.expect(t, 1, "closed")
	})
}

func TestCloseDropsWhatWaitsAndTellsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, far, c := box(t, OutboxLimits{Age: time.Hour})
		o.Send("being written", 13)
		synctest.Wait()
		o.Send("waiting", 7)
		o.Close()
		o.Send("after", 5)
		synctest.Wait() // and no goroutine stays
		if b, err := io.ReadAll(far); len(b) != 0 || err != nil {
			t.Errorf("%q %v", b, err)
		}
		c.expect(t, 0, "")
	})
}
