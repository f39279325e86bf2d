package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CPUs counts the cpus this process may run on.
func CPUs() int { return runtime.NumCPU() }

// Memory gives total and available bytes; available counts what the kernel would give back at once.
func Memory() (total, available uint64, err error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	total, available, ok := parseMeminfo(string(b))
	if !ok {
		return 0, 0, errors.New("no MemTotal in /proc/meminfo")
	}
	return total, available, nil
}

func parseMeminfo(s string) (total, available uint64, ok bool) {
	for line := range strings.SplitSeq(s, "\n") {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if len(f) == 0 {
			continue
		}
		kib, err := strconv.ParseUint(f[0], 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "MemTotal":
			total, ok = kib<<10, true
		case "MemAvailable":
			available = kib << 10
		}
	}
	return total, available, ok
}

// Load gives the load averages over 1, 5 and 15 minutes.
func Load() ([3]float64, error) {
	var l [3]float64
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return l, err
	}
	f := strings.Fields(string(b))
	if len(f) < len(l) {
		return l, fmt.Errorf("unexpected /proc/loadavg: %q", b)
	}
	for i := range l {
		if l[i], err = strconv.ParseFloat(f[i], 64); err != nil {
			return l, err
		}
	}
	return l, nil
}

// DiskOf gives the file system that dir is on, or will be once it is made.
func DiskOf(dir string) (Disk, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Disk{}, err
	}
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == unix.ENOENT && dir != "/" {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return Disk{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
		}
		return Disk{Total: st.Blocks * uint64(st.Bsize), Free: st.Bavail * uint64(st.Bsize)}, nil
	}
}

// MostProcesses is how many processes and threads the machine may have at once; 0: that is not known.
func MostProcesses() int {
	most := 0
	for _, name := range []string{"pid_max", "threads-max"} {
		b, err := os.ReadFile("/proc/sys/kernel/" + name)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && (most == 0 || n < most) {
			most = n
		}
	}
	return most
}
