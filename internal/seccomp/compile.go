package seccomp

import (
	"golang.org/x/net/bpf"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/seccomp/filter"
)

// Compile makes the program of a profile for a target. Of the program's cost, calls that their number alone decides pay for
// nothing on kernels from 5.11 on, which keep the answer; others pay for some ten instructions, and for their conditions.
// Errors have the kind fault.Invalid: an architecture without tables, a capability that is none, or a profile with so many
// conditions that the program is longer than the kernel takes (filter.MaxInstructions).
func Compile(p *Profile, t Target) (filter.Program, error) {
	p, err := p.Resolve(t)
	if err != nil {
		return filter.Program{}, err
	}
	list, err := abis(t.Arch, p.Archs)
	if err != nil {
		return filter.Program{}, err
	}
	asm := &assembler{returns: map[bpf.RetConstant]label{}}
	next := asm.finish(KillThread)
	sections := make([]label, len(list))
	for i := range list { // the last written is the nearest, so the native one comes last
		i = len(list) - 1 - i
		sections[i] = asm.section(list[i], p.parts(list[i]))
	}
	for i := range list {
		i = len(list) - 1 - i
		next = asm.branch(bpf.JumpEqual, list[i].audit, sections[i], next)
	}
	asm.load(offsetArch, 1<<32-1, next)
	return p.program(asm.program())
}

// program encodes the instructions.
func (p *Profile) program(code []bpf.Instruction) (filter.Program, error) {
	if len(code) > filter.MaxInstructions {
		return filter.Program{}, fault.New(fault.Invalid, "seccomp profile: syscalls: make a program of %d instructions, and the kernel takes %d; take conditions (args) away", len(code), filter.MaxInstructions)
	}
	raw, err := bpf.Assemble(code)
	if err != nil {
		return filter.Program{}, fault.New(fault.Internal, "seccomp profile: assemble: %v", err)
	}
	out := filter.Program{Code: make([]filter.Instruction, 0, len(raw))}
	for _, i := range raw {
		out.Code = append(out.Code, filter.Instruction{Op: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	if p.LogAll {
		out.Flags |= filter.FlagLog
	}
	if p.SpecAllow {
		out.Flags |= filter.FlagSpecAllow
	}
	return out, nil
}

// section decides the calls of one abi by a search tree over their numbers.
func (a *assembler) section(abi abi, parts []part) label {
	weights := make([]int, len(parts))
	for i := range parts {
		weights[i] = 1
	}
	for _, name := range frequent() {
		if nr, ok := abi.lookup(name); ok {
			weights[find(parts, nr)] += frequentWeight
		}
	}
	return a.load(offsetNumber, 1<<32-1, a.tree(parts, weights, abi.bits))
}

func find(parts []part, nr uint32) int {
	i := 0
	for i+1 < len(parts) && parts[i+1].from <= nr {
		i++
	}
	return i
}

// tree splits where both sides weigh about the same, so that what is heavy is near to the root.
func (a *assembler) tree(parts []part, weights []int, bits int) label {
	if len(parts) == 1 {
		return a.leaf(parts[0], bits)
	}
	k := split(weights)
	right := a.tree(parts[k:], weights[k:], bits)
	left := a.tree(parts[:k], weights[:k], bits)
	return a.branch(bpf.JumpGreaterOrEqual, parts[k].from, right, left)
}

// split gives the first index of the right side; both sides have something.
func split(weights []int) int {
	total := 0
	for _, w := range weights {
		total += w
	}
	best, bestGap, left := 1, total+1, 0
	for k := 1; k < len(weights); k++ {
		left += weights[k-1]
		if gap := max(total-2*left, 2*left-total); gap < bestGap {
			best, bestGap = k, gap
		}
	}
	return best
}

func (a *assembler) leaf(p part, bits int) label {
	l := a.finish(p.rest)
	for i := range p.clauses {
		l = a.clause(p.clauses[len(p.clauses)-1-i], bits, l)
	}
	return l
}

// frequentWeight is how many parts of a tree a frequent call counts for: enough to lift it by a few steps, too little to
// make the way to others long.
const frequentWeight = 8

// frequent are calls that busy programs make most.
func frequent() []string {
	return []string{
		"read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close", "openat", "fstat", "newfstatat",
		"futex", "epoll_wait", "epoll_pwait", "epoll_ctl", "poll", "ppoll", "recvfrom", "sendto", "recvmsg", "sendmsg",
		"mmap", "munmap", "madvise", "clock_gettime", "nanosleep", "clock_nanosleep", "sched_yield", "getpid",
		"rt_sigprocmask", "rt_sigreturn", "io_uring_enter",
	}
}
