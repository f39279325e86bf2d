// Package filter is a compiled seccomp program on its way from the agent to the kernel. It is apart from the compiler
// because the launcher, which installs programs, links neither fmt nor json.
package filter

import (
	"encoding/binary"
	"errors"
)

// MaxInstructions is BPF_MAXINSNS of linux/bpf_common.h: the kernel takes no longer program.
const MaxInstructions = 4096

// Flags of seccomp(2) that a program can be installed with.
const (
	FlagLog       uint32 = 1 << 1 // log all actions but ALLOW
	FlagSpecAllow uint32 = 1 << 2 // no mitigation of speculative store bypass

	knownFlags = FlagLog | FlagSpecAllow
)

// Instruction is struct sock_filter of linux/filter.h, with its layout in memory.
type Instruction struct {
	Op     uint16
	Jt, Jf uint8
	K      uint32
}

// Program is what seccomp(SECCOMP_SET_MODE_FILTER) takes.
type Program struct {
	Code  []Instruction
	Flags uint32
}

// The encoding: the mark, a version, the flags, and the instructions as the kernel has them on a little-endian machine.
const (
	mark    = "scf"
	version = 1
	header  = 8
	size    = 8
)

// The ways in which bytes are no program. Who passed them on is to compile the profile again.
var (
	ErrFormat = errors.New("a seccomp program has another format; compile the profile again")
	ErrLength = errors.New("a seccomp program has not from 1 to 4096 whole instructions; compile the profile again")
	ErrFlags  = errors.New("a seccomp program has flags that are not known; compile the profile again")
)

// Encode gives the bytes that Decode takes: at most 8 + 8 × MaxInstructions of them, for a program that was compiled.
func (p Program) Encode() []byte {
	b := make([]byte, 0, header+size*len(p.Code))
	b = append(b, mark...)
	b = append(b, version)
	b = binary.LittleEndian.AppendUint32(b, p.Flags)
	for _, i := range p.Code {
		b = binary.LittleEndian.AppendUint16(b, i.Op)
		b = append(b, i.Jt, i.Jf)
		b = binary.LittleEndian.AppendUint32(b, i.K)
	}
	return b
}

// Decode reads a program. That its jumps end inside and its loads are allowed is for the kernel to check, which it does.
func Decode(b []byte) (Program, error) {
	if len(b) < header || string(b[:3]) != mark || b[3] != version {
		return Program{}, ErrFormat
	}
	p := Program{Flags: binary.LittleEndian.Uint32(b[4:])}
	if p.Flags&^knownFlags != 0 {
		return Program{}, ErrFlags
	}
	b = b[header:]
	if n := len(b) / size; len(b)%size != 0 || n < 1 || n > MaxInstructions {
		return Program{}, ErrLength
	}
	p.Code = make([]Instruction, len(b)/size)
	for i := range p.Code {
		raw := b[size*i:]
		p.Code[i] = Instruction{Op: binary.LittleEndian.Uint16(raw), Jt: raw[2], Jf: raw[3], K: binary.LittleEndian.Uint32(raw[4:])}
	}
	return p, nil
}
