package cgroup

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
}
