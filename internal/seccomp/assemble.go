package seccomp

import "golang.org/x/net/bpf"

// Where struct seccomp_data of linux/seccomp.h has its fields, in bytes. It is in the byte order of the machine, and all
// machines with a table are little-endian: of an argument, the lower half comes first.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
	argSize      = 8
	wordSize     = 4
)

// maxSkip is how far a conditional jump goes, less the one instruction that may have to be put in before the jump, after the
// way to its first end was measured: for its second end.
const maxSkip = 255 - 1

// label is the place of an instruction, counted from the end of the program.
type label int

// assembler writes a program from its end to its beginning, so where a jump goes to is always there already. Nothing runs on
// into the next instruction by itself but loads and masks.
type assembler struct {
	reversed []bpf.Instruction
	returns  map[bpf.RetConstant]label // the one nearest to the beginning
}

func (a *assembler) emit(i bpf.Instruction) label {
	a.reversed = append(a.reversed, i)
	return label(len(a.reversed) - 1)
}

// skip counts the instructions between the next one and l.
func (a *assembler) skip(l label) int { return len(a.reversed) - 1 - int(l) }

// finish ends an action.
func (a *assembler) finish(action Action) label {
	ret := bpf.RetConstant{Val: uint32(action)}
	if l, ok := a.returns[ret]; ok {
		return l
	}
	return a.copy(ret)
}

func (a *assembler) copy(ret bpf.RetConstant) label {
	l := a.emit(ret)
	a.returns[ret] = l
	return l
}

// near gives a place in reach of a conditional jump from where the program goes on as it does at l. A return is copied, which
// costs no step; to anything else leads a long jump.
func (a *assembler) near(l label) label {
	if a.skip(l) <= maxSkip {
		return l
	}
	if ret, ok := a.reversed[l].(bpf.RetConstant); ok {
		if other := a.returns[ret]; a.skip(other) <= maxSkip {
			return other
		}
		return a.copy(ret)
	}
	return a.emit(bpf.Jump{Skip: uint32(a.skip(l))})
}

// branch goes to yes when the loaded word compares so with value, and to no otherwise.
func (a *assembler) branch(test bpf.JumpTest, value uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	yes, no = a.near(yes), a.near(no)
	return a.emit(bpf.JumpIf{Cond: test, Val: value, SkipTrue: uint8(a.skip(yes)), SkipFalse: uint8(a.skip(no))})
}

// load loads a word and goes to next, with a mask before it unless that has all bits.
func (a *assembler) load(offset, mask uint32, next label) label {
	if skip := a.skip(next); skip > 0 {
		a.emit(bpf.Jump{Skip: uint32(skip)})
	}
	if mask != 1<<32-1 {
		a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
	}
	return a.emit(bpf.LoadAbsolute{Off: offset, Size: wordSize})
}

// program is what was written, in order.
func (a *assembler) program() []bpf.Instruction {
	list := make([]bpf.Instruction, 0, len(a.reversed))
	for i := range a.reversed {
		list = append(list, a.reversed[len(a.reversed)-1-i])
	}
	return list
}
