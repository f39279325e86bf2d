package attach

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

func TestOnlyCtrlPThenCtrlQLeavesATerminal(t *testing.T) {
	for _, c := range []struct {
		name, in, out   string
		mayLeave, leave bool
	}{
		{"words pass", "hello\n", "hello\n", true, false},
		{"both keys leave", "ab\x10\x11cd", "ab", true, true},
		{"another key between them passes all", "a\x10b\x11c", "a\x10b\x11c", true, false},
		{"Ctrl-P twice is one, and may yet leave", "\x10\x10\x11", "\x10", true, true},
		{"Ctrl-Q alone passes", "\x11", "\x11", true, false},
		{"pipes are never left", "\x10\x11", "\x10\x11", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, in := range []io.Reader{bytes.NewBufferString(c.in), iotest.OneByteReader(bytes.NewBufferString(c.in))} {
				var out bytes.Buffer
				leave, err := copyInput(&out, in, c.mayLeave)
				if out.String() != c.out || leave != c.leave || err != nil {
					t.Errorf("%q %v %v", out.String(), leave, err)
				}
			}
		})
	}
}
