package wire

import (
	"encoding/binary"
	"errors"
	"io"
)

// MaxFrame is the longest frame either side accepts, in bytes: room for the largest environment the kernel would take.
const MaxFrame = 8 << 20

// ErrCorrupt is what a frame that ends early, or promises more than it holds, decodes to.
var ErrCorrupt = errors.New("launcher protocol: a frame is cut short or malformed; the peer is not a launcher of this version")

// WriteFrame writes one message with its length before it, in a single Write.
func WriteFrame(w io.Writer, m *Message) error {
	b := m.Append(make([]byte, 4, 256))
	if len(b)-4 > MaxFrame {
		return errors.New("launcher protocol: a message is longer than a frame may be; shorten the command or its environment")
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	_, err := w.Write(b)
	return err
}

// ReadFrame reads one message. io.EOF means that the peer closed between two frames.
func ReadFrame(r io.Reader) (*Message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > MaxFrame {
		return nil, ErrCorrupt
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	m := new(Message)
	if err := m.Decode(b); err != nil {
		return nil, err
	}
	return m, nil
}

// put appends; take consumes. Numbers are varints, strings and lists carry their length, absent pointers are one zero
// byte. Fields are in the order of the struct; a new version of the protocol adds at the end or gets a new number.
type put struct{ b []byte }

func (p *put) uint(v uint64) { p.b = binary.AppendUvarint(p.b, v) }
func (p *put) int(v int64)   { p.b = binary.AppendVarint(p.b, v) }

func (p *put) bool(v bool) {
	if v {
		p.b = append(p.b, 1)
	} else {
		p.b = append(p.b, 0)
	}
}

func (p *put) string(s string) {
	p.uint(uint64(len(s)))
	p.b = append(p.b, s...)
}

func (p *put) strings(v []string) {
	p.uint(uint64(len(v)))
	for _, s := range v {
		p.string(s)
	}
}

func (p *put) mask(v *uint64) {
	p.bool(v != nil)
	if v != nil {
		p.uint(*v)
	}
}

type take struct {
	b   []byte
	bad bool
}

func (t *take) fail() {
	t.bad = true
	t.b = nil
}

func (t *take) uint() uint64 {
	v, n := binary.Uvarint(t.b)
	if n <= 0 {
		t.fail()
		return 0
	}
	t.b = t.b[n:]
	return v
}

func (t *take) int() int64 {
	v, n := binary.Varint(t.b)
	if n <= 0 {
		t.fail()
		return 0
	}
	t.b = t.b[n:]
	return v
}

func (t *take) bool() bool {
	if len(t.b) == 0 {
		t.fail()
		return false
	}
	v := t.b[0]
	t.b = t.b[1:]
	return v != 0
}

func (t *take) string() string {
	n := t.uint()
	if n > uint64(len(t.b)) {
		t.fail()
		return ""
	}
	s := string(t.b[:n])
	t.b = t.b[n:]
	return s
}

// count reads the length of a list whose elements take a byte each at least, so that a lie cannot make us allocate.
func (t *take) count() int {
	n := t.uint()
	if n > uint64(len(t.b)) {
		t.fail()
		return 0
	}
	return int(n)
}

func (t *take) strings() []string {
	n := t.count()
	if n == 0 {
		return nil
	}
	v := make([]string, 0, n)
	for range n {
		v = append(v, t.string())
	}
	return v
}

func (t *take) mask() *uint64 {
	if !t.bool() {
		return nil
	}
	v := t.uint()
	return &v
}
