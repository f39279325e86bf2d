// Package figures writes what a container uses, as the original shows it.
package figures

import (
	"strconv"

	"github.com/pando-os/pando/internal/agent/diskwatch"
	"github.com/pando-os/pando/internal/host/cgroup"
	v0 "github.com/pando-os/pando/mesos/v0"
)

// Append appends what a container uses as a ResourceStatistics. A limit that is not set is left out, and with it what is counted against it.
func Append(dst []byte, s *cgroup.Stats, disk diskwatch.Use) []byte {
	dst = v0.Number(append(dst, `{"timestamp":`...), s.Timestamp)
	dst = v0.Number(append(dst, `,"cpus_user_time_secs":`...), s.CPUsUserSecs)
	dst = v0.Number(append(dst, `,"cpus_system_time_secs":`...), s.CPUsSystemSecs)
	if s.CPUsLimit > 0 {
		dst = v0.Number(append(dst, `,"cpus_limit":`...), s.CPUsLimit)
		dst = strconv.AppendUint(append(dst, `,"cpus_nr_periods":`...), s.Periods, 10)
		dst = strconv.AppendUint(append(dst, `,"cpus_nr_throttled":`...), s.Throttled, 10)
		dst = v0.Number(append(dst, `,"cpus_throttled_time_secs":`...), s.ThrottledSecs)
	}
	dst = v0.Number(append(dst, `,"cpus_soft_limit":`...), s.CPUsSoftLimit)
	if disk.Limit > 0 {
		dst = strconv.AppendInt(append(dst, `,"disk_limit_bytes":`...), disk.Limit, 10)
		dst = strconv.AppendInt(append(dst, `,"disk_used_bytes":`...), disk.Used, 10)
	}
	for _, m := range []struct {
		name  string
		value uint64
		limit bool
	}{
		{`,"mem_total_bytes":`, s.MemTotal, false},
		{`,"mem_limit_bytes":`, s.MemLimit, true},
		{`,"mem_soft_limit_bytes":`, s.MemSoftLimit, true},
		{`,"mem_rss_bytes":`, s.MemRSS, false},
		{`,"mem_anon_bytes":`, s.MemAnon, false},
		{`,"mem_cache_bytes":`, s.MemCache, false},
		{`,"mem_file_bytes":`, s.MemFile, false},
		{`,"mem_mapped_file_bytes":`, s.MemMapped, false},
		{`,"mem_swap_bytes":`, s.MemSwap, false},
		{`,"mem_unevictable_bytes":`, s.MemUnevictable, false},
		{`,"mem_kmem_usage_bytes":`, s.MemKernel, false},
		{`,"mem_kmem_tcp_usage_bytes":`, s.MemKernelTCP, false},
	} {
		if !m.limit || m.value > 0 {
			dst = strconv.AppendUint(append(dst, m.name...), m.value, 10)
		}
	}
	dst = appendIO(dst, s.IO)
	// Nobody listens for memory pressure here; readers of these expect them to be there.
	return append(dst, `,"mem_low_pressure_counter":0,"mem_medium_pressure_counter":0,"mem_critical_pressure_counter":0}`...)
}

// appendIO appends what was done with block devices, if it is counted. What was done with all of them names no device.
func appendIO(dst []byte, all []cgroup.IO) []byte {
	if len(all) == 0 {
		return dst
	}
	counts := func(name string, counts []cgroup.Count) {
		dst = append(dst, name...)
		for i, c := range counts {
			dst = v0.Text(append(v0.Comma(dst, i), `{"op":`...), c.Op)
			dst = append(strconv.AppendUint(append(dst, `,"value":`...), c.N, 10), '}')
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"blkio_statistics":{"throttling":[`...)
	for i := range all {
		d := &all[i]
		dst = append(v0.Comma(dst, i), '{')
		if !d.All {
			dst = strconv.AppendUint(append(dst, `"device":{"major_number":`...), d.Major, 10)
			dst = append(strconv.AppendUint(append(dst, `,"minor_number":`...), d.Minor, 10), '}', ',')
		}
		counts(`"io_serviced":[`, d.Ops)
		counts(`,"io_service_bytes":[`, d.Bytes)
		dst = append(dst, '}')
	}
	return append(dst, ']', '}')
}
