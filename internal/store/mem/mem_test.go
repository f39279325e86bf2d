package mem

import (
	"testing"
	"time"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/store"
	"github.com/pando-os/pando/internal/store/storetest"
)

func TestSuite(t *testing.T) {
	c := clock.NewFake(time.Unix(0, 0))
	server := NewServer(c)
	storetest.Run(t, storetest.Subject{
		Open: func(*testing.T) store.Store { return server.Open() },
		// A closed client's lease arms its timer soon after; small steps meet it whenever that is.
		Pass: func(d time.Duration) {
			for range 100 {
				c.Advance(d / 10)
				time.Sleep(time.Millisecond)
			}
		},
	})
}

func TestAWatchThatLagsIsToldToListAgain(t *testing.T) {
	s := NewServer(clock.Real()).Open()
	defer s.Close()
	for range remembered + 1 {
		if _, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put("k", nil)}}); err != nil {
			t.Fatal(err)
		}
	}
	c := <-s.Watch(t.Context(), "k", 0)
	if !fault.Is(c.Err, fault.Gone) {
		t.Fatalf("got %+v", c)
	}
}
