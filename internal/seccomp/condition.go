package seccomp

import "golang.org/x/net/bpf"

// word is half an argument, or all of it where arguments have 32 bits.
type word struct {
	offset      uint32
	mask, value uint32
}

func (c Condition) words(bits int) (low word, high *word) {
	offset := uint32(offsetArgs + argSize*int(c.Index))
	mask, value := uint64(1<<64-1), c.Value
	if c.Op == MaskedEqual {
		mask, value = c.Value, c.Value&c.ValueTwo
	}
	low = word{offset, uint32(mask), uint32(value)}
	if bits == 64 {
		high = &word{offset + wordSize, uint32(mask >> 32), uint32(value >> 32)}
	}
	return low, high
}

// clause tests the conditions one after another: then when all hold, next when one does not.
func (a *assembler) clause(c clause, bits int, next label) label {
	l := a.finish(c.then)
	for i := range c.when {
		l = a.condition(c.when[len(c.when)-1-i], bits, l, next)
	}
	return l
}

// condition goes to yes or no. The negative comparisons are the others turned round.
func (a *assembler) condition(c Condition, bits int, yes, no label) label {
	low, high := c.words(bits)
	switch c.Op {
	case Equal, MaskedEqual:
		return a.equal(low, high, yes, no)
	case NotEqual:
		return a.equal(low, high, no, yes)
	case GreaterOrEqual:
		return a.order(bpf.JumpGreaterOrEqual, low, high, yes, no)
	case Less:
		return a.order(bpf.JumpGreaterOrEqual, low, high, no, yes)
	case Greater:
		return a.order(bpf.JumpGreaterThan, low, high, yes, no)
	default: // LessOrEqual
		return a.order(bpf.JumpGreaterThan, low, high, no, yes)
	}
}

func (a *assembler) equal(low word, high *word, yes, no label) label {
	l := a.equalWord(low, yes, no)
	if high != nil {
		l = a.equalWord(*high, l, no)
	}
	return l
}

// equalWord leaves out a test of no bits, which always holds.
func (a *assembler) equalWord(w word, yes, no label) label {
	if w.mask == 0 || yes == no {
		return yes
	}
	return a.load(w.offset, w.mask, a.branch(bpf.JumpEqual, w.value, yes, no))
}

// order lets the upper half decide, and the lower one when the upper halves are equal.
func (a *assembler) order(test bpf.JumpTest, low word, high *word, yes, no label) label {
	l := a.load(low.offset, low.mask, a.branch(test, low.value, yes, no))
	if high == nil {
		return l
	}
	l = a.branch(bpf.JumpEqual, high.value, l, no)
	l = a.branch(bpf.JumpGreaterThan, high.value, yes, l)
	return a.load(high.offset, high.mask, l)
}
