package run

import (
	"bytes"
	"io"
	"sync"
)

// gate lets one writer at a time through to a stream, so that the lines of several instances do not mix.
type gate struct {
	mu sync.Mutex
	w  io.Writer
}

// lines puts a prefix before every line it is given and passes whole lines on. One goroutine writes; what is left without a
// line's end is passed on by flush.
type lines struct {
	gate    *gate
	prefix  string
	pending []byte
}

// maxLine is how long a line may get before it is passed on in pieces.
const maxLine = 64 << 10

func (l *lines) Write(b []byte) (int, error) {
	l.pending = append(l.pending, b...)
	end := bytes.LastIndexByte(l.pending, '\n') + 1
	if end == 0 && len(l.pending) > maxLine {
		l.pending = append(l.pending, '\n')
		end = len(l.pending)
	}
	if end == 0 {
		return len(b), nil
	}
	if err := l.pass(l.pending[:end]); err != nil {
		return 0, err
	}
	l.pending = append(l.pending[:0], l.pending[end:]...)
	return len(b), nil
}

func (l *lines) pass(whole []byte) error {
	out := make([]byte, 0, len(whole)+len(l.prefix)*4)
	for line := range bytes.Lines(whole) {
		out = append(append(out, l.prefix...), line...)
	}
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	_, err := l.gate.w.Write(out)
	return err
}

func (l *lines) flush() error {
	if len(l.pending) == 0 {
		return nil
	}
	l.pending = append(l.pending, '\n')
	defer func() { l.pending = nil }()
	return l.pass(l.pending)
}

// through passes bytes on as they are, for a single instance.
type through struct{ gate *gate }

func (t through) Write(b []byte) (int, error) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	return t.gate.w.Write(b)
}

// cooked passes on what a terminal showed to one that ends lines by itself.
type cooked struct {
	w  io.Writer
	cr bool // the last byte was a carriage return, which waits for what follows
}

func (c *cooked) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+1)
	for _, b := range p {
		if c.cr && b != '\n' {
			out = append(out, '\r')
		}
		if c.cr = b == '\r'; !c.cr {
			out = append(out, b)
		}
	}
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
