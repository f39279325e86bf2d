package cgroup

import (
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTicks is USER_HZ, which Linux fixes at 100 for all user interfaces whatever the kernel's own rate.
const clockTicks = 100

// Stats reads what the container of that name uses. It fails when the container has no group here (any more).
func (p *Parent) Stats(name string) (Stats, error) {
	s := Stats{Timestamp: float64(time.Now().UnixNano()) / 1e9}
	for _, w := range wanted {
		if c, ok := p.places[w.name]; ok && !w.more { // an agent without more may have started it
			if _, err := os.Stat(c.dir + "/" + name); err != nil {
				return s, err
			}
		}
	}
	if c, ok := p.places["cpuacct"]; ok {
		d := c.dir + "/" + name + "/"
		if c.v2 {
			t := text(d + "cpu.stat")
			s.CPUsUserSecs = float64(field(t, "user_usec")) / 1e6
			s.CPUsSystemSecs = float64(field(t, "system_usec")) / 1e6
		} else {
			t := text(d + "cpuacct.stat")
			s.CPUsUserSecs = float64(field(t, "user")) / clockTicks
			s.CPUsSystemSecs = float64(field(t, "system")) / clockTicks
		}
	}
	if c, ok := p.places["cpu"]; ok {
		s.cpu(c.dir+"/"+name+"/", c.v2)
	}
	if c, ok := p.places["memory"]; ok {
		if d := c.dir + "/" + name + "/"; c.v2 {
			s.memory2(d)
		} else {
			s.memory1(d)
		}
	}
	if c, ok := p.places["pids"]; ok {
		s.Processes = num(c.dir + "/" + name + "/pids.current")
	}
	if c, ok := p.places["blkio"]; ok {
		s.IO = readIO(c.dir+"/"+name+"/", c.v2)
	}
	return s, nil
}

func (s *Stats) cpu(d string, v2 bool) {
	t := text(d + "cpu.stat")
	s.Periods, s.Throttled = field(t, "nr_periods"), field(t, "nr_throttled")
	if v2 {
		s.ThrottledSecs = float64(field(t, "throttled_usec")) / 1e6
		w := int64(num(d + "cpu.weight"))
		shares := 2 + (w-1)*262142/9999 // the inverse of Weight, up to rounding
		s.CPUsSoftLimit = math.Round(float64(shares)/sharesPerCPU*10) / 10
		if q, per, ok := strings.Cut(strings.TrimSpace(text(d+"cpu.max")), " "); ok && q != "max" {
			s.CPUsLimit = ratio(q, per)
		}
		return
	}
	s.ThrottledSecs = float64(field(t, "throttled_time")) / 1e9
	s.CPUsSoftLimit = float64(num(d+"cpu.shares")) / sharesPerCPU
	s.CPUsLimit = ratio(strings.TrimSpace(text(d+"cpu.cfs_quota_us")), strings.TrimSpace(text(d+"cpu.cfs_period_us")))
}

func (s *Stats) memory1(d string) {
	s.MemTotal = num(d + "memory.usage_in_bytes")
	s.MemLimit = limit(d + "memory.limit_in_bytes")
	s.MemSoftLimit = limit(d + "memory.soft_limit_in_bytes")
	s.MemKernel = num(d + "memory.kmem.usage_in_bytes")
	s.MemKernelTCP = num(d + "memory.kmem.tcp.usage_in_bytes")
	t := text(d + "memory.stat")
	s.MemRSS = field(t, "total_rss")
	s.MemAnon = s.MemRSS
	s.MemCache = field(t, "total_cache")
	s.MemFile = s.MemCache
	s.MemMapped = field(t, "total_mapped_file")
	s.MemSwap = field(t, "total_swap")
	s.MemUnevictable = field(t, "total_unevictable")
}

func (s *Stats) memory2(d string) {
	s.MemTotal = num(d + "memory.current")
	s.MemLimit = limit(d + "memory.max")
	s.MemSoftLimit = limit(d + "memory.low")
	s.MemSwap = num(d + "memory.swap.current")
	t := text(d + "memory.stat")
	s.MemRSS = field(t, "anon")
	s.MemAnon = s.MemRSS
	s.MemCache = field(t, "file")
	s.MemFile = s.MemCache
	s.MemMapped = field(t, "file_mapped")
	s.MemUnevictable = field(t, "unevictable")
	s.MemKernel = field(t, "kernel")
	s.MemKernelTCP = field(t, "sock")
}

// readIO reads what a group and those below it did with block devices; nil: that is not counted.
func readIO(d string, v2 bool) []IO {
	if v2 {
		b, err := os.ReadFile(d + "io.stat")
		if err != nil {
			return nil
		}
		return ioStat(string(b))
	}
	if ops := text(d + "blkio.throttle.io_serviced_recursive"); ops != "" {
		return throttled(ops, text(d+"blkio.throttle.io_service_bytes_recursive"))
	}
	return throttled(text(d+"blkio.throttle.io_serviced"), text(d+"blkio.throttle.io_service_bytes"))
}

func text(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func num(path string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSpace(text(path)), 10, 64)
	return n
}

// limit reads a limit; "max", and v1's numbers near the end of the address space, are none.
func limit(path string) uint64 {
	if n := num(path); n < 1<<62 {
		return n
	}
	return 0
}

// ratio divides two numbers in words; a quota of -1 is no limit.
func ratio(quota, period string) float64 {
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return 0
	}
	return q / p
}
