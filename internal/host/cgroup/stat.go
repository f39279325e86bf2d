package cgroup

import (
	"strconv"
	"strings"
)

// Stats is what a container uses and may use. Members the machine does not count are zero.
type Stats struct {
	Timestamp                    float64 // seconds since the epoch
	CPUsUserSecs, CPUsSystemSecs float64
	// CPUsSoftLimit is cpus by weight; CPUsLimit is the hard limit, 0: none.
	CPUsSoftLimit, CPUsLimit float64
	// Periods and Throttled count periods of the hard limit, and those in which it was reached.
	Periods, Throttled uint64
	ThrottledSecs      float64

	// Memory is in bytes; a limit of 0 is none.
	MemTotal, MemLimit, MemSoftLimit   uint64
	MemRSS, MemAnon, MemCache, MemFile uint64
	MemMapped, MemSwap, MemUnevictable uint64
	MemKernel, MemKernelTCP            uint64

	Processes uint64

	// IO is what was read from and written to block devices, where it is counted: of each device, and of all of them.
	IO []IO
}

// IO is what was done with one device; with all of them when it has no number.
type IO struct {
	Major, Minor uint64
	All          bool
	Ops, Bytes   []Count
}

// Count is how much was done of one kind, by the kernel's name in capitals: READ, WRITE, SYNC, ASYNC, DISCARD, TOTAL.
type Count struct {
	Op string
	N  uint64
}

// throttled reads v1's counts of operations and bytes: lines "MAJOR:MINOR Op N", and "Total N" for all.
func throttled(ops, bytes string) []IO {
	var out []IO
	at := func(device string) *IO {
		d := IO{All: device == ""}
		d.Major, d.Minor = numbers(device)
		for i := range out {
			if out[i].All == d.All && out[i].Major == d.Major && out[i].Minor == d.Minor {
				return &out[i]
			}
		}
		out = append(out, d)
		return &out[len(out)-1]
	}
	each := func(text string, add func(*IO, Count)) {
		for line := range strings.SplitSeq(text, "\n") {
			f := strings.Fields(line)
			if len(f) == 2 {
				f = append([]string{""}, f...)
			}
			if len(f) == 3 {
				n, _ := strconv.ParseUint(f[2], 10, 64)
				add(at(f[0]), Count{strings.ToUpper(f[1]), n})
			}
		}
	}
	each(ops, func(d *IO, c Count) { d.Ops = append(d.Ops, c) })
	each(bytes, func(d *IO, c Count) { d.Bytes = append(d.Bytes, c) })
	return out
}

// ioStat reads v2's: lines "MAJOR:MINOR rbytes=N wbytes=N rios=N …". It has no line for all.
func ioStat(text string) []IO {
	var out []IO
	var ops, bytes uint64
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n := map[string]uint64{}
		for _, pair := range f[1:] {
			k, v, _ := strings.Cut(pair, "=")
			n[k], _ = strconv.ParseUint(v, 10, 64)
		}
		d := IO{}
		d.Major, d.Minor = numbers(f[0])
		count := func(suffix string) ([]Count, uint64) {
			r, w, x := n["r"+suffix], n["w"+suffix], n["d"+suffix]
			return []Count{{"READ", r}, {"WRITE", w}, {"DISCARD", x}, {"TOTAL", r + w + x}}, r + w + x
		}
		var o, b uint64
		d.Ops, o = count("ios")
		d.Bytes, b = count("bytes")
		out, ops, bytes = append(out, d), ops+o, bytes+b
	}
	return append(out, IO{All: true, Ops: []Count{{"TOTAL", ops}}, Bytes: []Count{{"TOTAL", bytes}}})
}

// numbers reads MAJOR:MINOR.
func numbers(device string) (major, minor uint64) {
	a, b, _ := strings.Cut(device, ":")
	major, _ = strconv.ParseUint(a, 10, 64)
	minor, _ = strconv.ParseUint(b, 10, 64)
	return major, minor
}
