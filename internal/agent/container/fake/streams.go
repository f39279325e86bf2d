package fake

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/wire"
)

// ownTime is how long a session waits for its owner.
const ownTime = 10 * time.Second

// streams are those of a box that can be attached to; guarded by the machine's mu, but for the pipes themselves.
type streams struct {
	owned   bool
	readers []*half
	writer  *half
	ended   bool // the input
}

// half is one end of a connection.
type half struct{ in, out *way }

func connect() (near, far *half) {
	a, b := newWay(), newWay()
	return &half{a, b}, &half{b, a}
}

func (h *half) Read(p []byte) (int, error)  { return h.in.read(p) }
func (h *half) Write(p []byte) (int, error) { return h.out.write(p) }

// CloseWrite ends what this end sends.
func (h *half) CloseWrite() error {
	h.out.end()
	return nil
}

// Close ends both directions.
func (h *half) Close() error {
	h.out.end()
	h.in.drop()
	return nil
}

// way is one direction, which keeps as much as a socket does.
type way struct {
	mu      sync.Mutex
	moved   *sync.Cond
	data    []byte
	ended   bool // nothing is written any more
	dropped bool // nothing is read any more
}

const keeps = 256 << 10

func newWay() *way {
	w := &way{}
	w.moved = sync.NewCond(&w.mu)
	return w
}

func (w *way) read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.data) == 0 && !w.ended && !w.dropped {
		w.moved.Wait()
	}
	switch {
	case w.dropped:
		return 0, net.ErrClosed
	case len(w.data) == 0:
		return 0, io.EOF
	}
	n := copy(p, w.data)
	w.data = w.data[n:]
	w.moved.Broadcast()
	return n, nil
}

func (w *way) write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.data) > keeps && !w.ended && !w.dropped {
		w.moved.Wait()
	}
	if w.ended || w.dropped {
		return 0, net.ErrClosed
	}
	w.data = append(w.data, p...)
	w.moved.Broadcast()
	return len(p), nil
}

func (w *way) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.moved.Broadcast()
}

func (w *way) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped = true
	w.moved.Broadcast()
}

// begin lets a pretended process do what it does, once nobody has to come before. m.mu is held.
func (m *Machine) begin(b *box) {
	if b.does.After >= 0 && !b.does.Echo {
		b.after(b.does.After, func() { m.end(b, b.does.Status) })
	}
}

// stream makes the box one that can be attached to. m.mu is held.
func (m *Machine) stream(b *box) {
	b.streams = &streams{}
	if b.spec.Session {
		b.after(ownTime, func() {
			m.mu.Lock()
			owned := b.streams.owned
			m.mu.Unlock()
			if !owned {
				m.slay(b)
			}
		})
		return
	}
	m.begin(b)
}

func (m *Machine) slay(b *box) {
	m.mu.Lock()
	b.killed = b.killed || b.exit == nil
	m.mu.Unlock()
	m.kill(b, 0)
}

// Attach implements container.Runtime.
func (f *Fake) Attach(_ context.Context, id string, how container.Attachment) (*container.Stream, error) {
	b, err := f.running(id)
	if err != nil {
		return nil, err
	}
	m := f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	st := b.streams
	refuse := func(k container.Kind, words string) (*container.Stream, error) {
		return nil, &container.Error{Kind: k, Message: words}
	}
	owner := uint32(how)&wire.AttachOwner != 0
	switch {
	case st == nil:
		return refuse(container.KindInvalid, "container "+id+" cannot be attached to")
	case owner && (st.owned || !b.spec.Session):
		return refuse(container.KindBusy, "it has an owner, or is to have none")
	case how == container.AttachInput && (st.writer != nil || st.ended):
		return refuse(container.KindBusy, "its input is taken, or has ended")
	}
	near, far := connect()
	if how == container.AttachInput {
		st.writer = far
		go m.feed(b, far)
		return container.NewStream(near), nil
	}
	st.readers = append(st.readers, far)
	if owner {
		st.owned = true
		if b.does.Output != "" {
			_, _ = far.Write(wire.AppendPiece(nil, wire.PieceStdout, []byte(b.does.Output))) // there is room for it
		}
		m.begin(b)
	}
	go func() { // until it ends, however
		_, _ = io.Copy(io.Discard, far)
		if owner {
			m.slay(b)
		}
	}()
	return container.NewStream(near), nil
}

// endOfInput is what a person types to end the input of a terminal, Ctrl-D.
const endOfInput = 4

// feed gives a pretended process what comes for it; one that echoes ends with its input.
func (m *Machine) feed(b *box, far *half) {
	defer func() { _ = far.Close() }() // it cannot fail
	buf := make([]byte, wire.MaxPiece)
	for {
		kind, data, err := wire.ReadPiece(far, buf)
		if err != nil {
			break
		}
		if kind != wire.PieceStdin {
			continue
		}
		if b.spec.Terminal != nil {
			if len(data) == 0 {
				continue // it means nothing to a terminal
			}
			if data[len(data)-1] == endOfInput {
				data = nil
			}
		}
		if len(data) > 0 {
			if b.does.Echo {
				m.give(b, data)
			}
			continue
		}
		m.mu.Lock()
		b.streams.ended = true
		m.mu.Unlock()
		if b.does.Echo {
			m.end(b, b.does.Status)
		}
	}
	m.mu.Lock()
	b.streams.writer = nil
	m.mu.Unlock()
}

// give writes to all who read.
func (m *Machine) give(b *box, data []byte) {
	m.mu.Lock()
	readers := b.streams.readers
	m.mu.Unlock()
	for _, r := range readers {
		_, _ = r.Write(wire.AppendPiece(nil, wire.PieceStdout, data)) // one that is gone needs none
	}
}

// detach ends all connections of a box that has ended. m.mu is held.
func (b *box) detach() {
	if b.streams == nil {
		return
	}
	for _, r := range b.streams.readers {
		_ = r.Close() // it cannot fail
	}
	if w := b.streams.writer; w != nil {
		_ = w.Close() // likewise
	}
}

// Signal implements container.Runtime: every signal but 0 ends a pretended process that does not ignore SIGTERM.
func (f *Fake) Signal(id string, signal int) error {
	b, err := f.running(id)
	if err != nil {
		return err
	}
	if signal < 0 || signal > 64 {
		return &container.Error{Kind: container.KindInvalid, Message: "there is no such signal"}
	}
	if signal != 0 && (!b.does.IgnoresTERM || signal == int(syscall.SIGKILL)) {
		f.m.end(b, uint32(signal))
	}
	return nil
}
