package host

import "strconv"

// System is how busy the machine is. What it does not tell is zero.
type System struct {
	Load           [3]float64 // averages over 1, 5 and 15 minutes
	CPUs           int
	MemTotal, Free uint64 // bytes; Free is what programs could still take
}

// ReadSystem asks the machine.
func ReadSystem() System {
	s := System{CPUs: CPUs()}
	s.Load, _ = Load()               // zero where it is not told
	s.MemTotal, s.Free, _ = Memory() // likewise
	return s
}

// Emit gives the numbers under the original's names in metrics.
func (s System) Emit(emit func(name string, value float64)) {
	emit("system/cpus_total", float64(s.CPUs))
	emit("system/load_1min", s.Load[0])
	emit("system/load_5min", s.Load[1])
	emit("system/load_15min", s.Load[2])
	emit("system/mem_total_bytes", float64(s.MemTotal))
	emit("system/mem_free_bytes", float64(s.Free))
}

// AppendStats appends the machine's numbers as the JSON object of /system/stats.json.
func AppendStats(dst []byte) []byte {
	s := ReadSystem()
	for i, name := range []string{`{"avg_load_1min":`, `,"avg_load_5min":`, `,"avg_load_15min":`} {
		dst = strconv.AppendFloat(append(dst, name...), s.Load[i], 'f', -1, 64)
	}
	dst = strconv.AppendInt(append(dst, `,"cpus_total":`...), int64(s.CPUs), 10)
	dst = strconv.AppendUint(append(dst, `,"mem_total_bytes":`...), s.MemTotal, 10)
	dst = strconv.AppendUint(append(dst, `,"mem_free_bytes":`...), s.Free, 10)
	return append(dst, '}')
}
