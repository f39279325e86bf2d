package fleet

import (
	"context"
	"fmt"
	"net"

	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/serve"
)

// listen takes the word of new leaders for all agents, as each real one does at its own port. It does so on loopback alone,
// where the kernel says who speaks: agents of masters elsewhere find out by the pings that do not come.
func (f *Fleet) listen(ctx context.Context) (stop func(), err error) {
	for _, m := range f.cfg.Masters {
		if !onLoopback(m) {
			return func() {}, nil
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for new leaders: %w", err)
	}
	f.port = int32(l.Addr().(*net.TCPAddr).Port)
	mux := &serve.Mux{}
	mux.Exact(agentlink.SummonsPath, agentlink.TakeSummons(f.heed))
	s := serve.Server(serve.Config{Log: f.cfg.Log}, mux)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // it ends with Close
	}()
	return func() {
		_ = s.Close() // nobody waits for an answer any more
		<-done
	}, nil
}

func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// heed takes all agents away from leaders of earlier epochs. The new leader summons each of them; once is enough.
func (f *Fleet) heed(s agentlink.Summons) {
	for {
		old := f.summons.Load()
		if old != nil && old.Epoch >= s.Epoch {
			return
		}
		if f.summons.CompareAndSwap(old, &s) {
			break
		}
	}
	for _, a := range f.agents {
		a.mu.Lock()
		if a.mode == up && a.box != nil && a.epoch < s.Epoch {
			a.box.Close()
		}
		a.mu.Unlock()
	}
}
