package host

// Thousandths is an amount in integer thousandths: of a cpu, or of a megabyte of memory or disk.
type Thousandths = int64

// Resources is what an agent offers when its operator declares nothing.
type Resources struct {
	CPUs, Mem, Disk Thousandths
	// PortsFrom and PortsTo bound the range of ports, both included.
	PortsFrom, PortsTo uint64
}

// The fallbacks for what the machine does not tell, and the default ports; the original has the same.
const (
	fallbackCPUs = 1
	fallbackMem  = 1024
	fallbackDisk = 10 * 1024
	portsFrom    = 31000
	portsTo      = 32000
)

// DetectResources gives the resources of this machine, for sandboxes below dir. What cannot be found out has a modest
// default.
func DetectResources(dir string) Resources {
	r := Resources{CPUs: fallbackCPUs * 1000, Mem: fallbackMem * 1000, Disk: fallbackDisk * 1000, PortsFrom: portsFrom, PortsTo: portsTo}
	if n := CPUs(); n > 0 {
		r.CPUs = int64(n) * 1000
	}
	if total, _, err := Memory(); err == nil && total > 0 {
		r.Mem = leaveRoom(total, 1<<30)
	}
	if d, err := DiskOf(dir); err == nil && d.Total > 0 {
		r.Disk = leaveRoom(d.Total, 5<<30)
	}
	return r
}

// leaveRoom gives thousandths of a megabyte: all but reserve bytes, or half of what is less than twice the reserve. Whole
// megabytes, as the original counts.
func leaveRoom(bytes, reserve uint64) Thousandths {
	if bytes >= 2*reserve {
		bytes -= reserve
	} else {
		bytes /= 2
	}
	return int64(bytes>>20) * 1000
}

// Disk is the state of a file system.
type Disk struct {
	Total, Free uint64 // bytes; Free is what an ordinary user may still take
}

// Used is the share that is taken, 0 to 1.
func (d Disk) Used() float64 {
	if d.Total == 0 {
		return 0
	}
	return 1 - float64(d.Free)/float64(d.Total)
}
