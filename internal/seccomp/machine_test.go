package seccomp

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/pando-os/pando/internal/seccomp/filter"
)

// call is struct seccomp_data.
type call struct {
	nr, audit uint32
	args      [6]uint64
}

func (c call) String() string { return fmt.Sprintf("call %d of %#x %#x", c.nr, c.audit, c.args) }

func (c call) word(offset uint32) uint32 {
	switch {
	case offset == 0:
		return c.nr
	case offset == 4:
		return c.audit
	case offset >= 16 && offset < 64 && offset%4 == 0:
		return uint32(c.args[(offset-16)/8] >> (8 * (offset % 8)))
	}
	panic(fmt.Sprint("load of ", offset))
}

// run interprets a program as the kernel does, and counts the instructions.
func run(p filter.Program, c call) (action Action, steps int) {
	var acc uint32
	for at := 0; ; at++ {
		i := p.Code[at]
		steps++
		jump := func(yes bool) {
			if yes {
				at += int(i.Jt)
			} else {
				at += int(i.Jf)
			}
		}
		switch i.Op {
		case 0x20: // ld [k]
			acc = c.word(i.K)
		case 0x54: // and #k
			acc &= i.K
		case 0x05: // ja
			at += int(i.K)
		case 0x15:
			jump(acc == i.K)
		case 0x25:
			jump(acc > i.K)
		case 0x35:
			jump(acc >= i.K)
		case 0x06:
			return Action(i.K), steps
		default:
			panic(fmt.Sprintf("op %#x", i.Op))
		}
	}
}

// runVM has x/net's machine interpret it, whose words are big-endian.
func runVM(t interface{ Fatal(...any) }, p filter.Program, c call) Action {
	var code []bpf.Instruction
	for _, i := range p.Code {
		code = append(code, bpf.RawInstruction{Op: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K}.Disassemble())
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	in := make([]byte, 64)
	for offset := uint32(0); offset < 64; offset += 4 {
		if offset < 8 || offset >= 16 {
			binary.BigEndian.PutUint32(in[offset:], c.word(offset))
		}
	}
	out, err := vm.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	return Action(out)
}

// check does what the kernel does before it takes a program (bpf_check_classic, seccomp_check_filter).
func check(p filter.Program) error {
	if len(p.Code) == 0 || len(p.Code) > filter.MaxInstructions {
		return fmt.Errorf("%d instructions", len(p.Code))
	}
	for at, i := range p.Code {
		left := len(p.Code) - at - 1
		switch i.Op {
		case 0x20:
			if i.K%4 != 0 || i.K >= 64 {
				return fmt.Errorf("%d: load of %d", at, i.K)
			}
		case 0x05:
			if int(i.K) >= left {
				return fmt.Errorf("%d: jump out of the program", at)
			}
		case 0x15, 0x25, 0x35:
			if int(i.Jt) >= left || int(i.Jf) >= left {
				return fmt.Errorf("%d: branch out of the program", at)
			}
		case 0x54, 0x06:
		default:
			return fmt.Errorf("%d: op %#x", at, i.Op)
		}
	}
	if p.Code[len(p.Code)-1].Op != 0x06 {
		return fmt.Errorf("the last instruction is no return")
	}
	return nil
}

func compile(tb testing.TB, p *Profile, target Target) filter.Program {
	tb.Helper()
	prog, err := Compile(p, target)
	if err != nil {
		tb.Fatal(err)
	}
	if err := check(prog); err != nil {
		tb.Fatal(err)
	}
	return prog
}
