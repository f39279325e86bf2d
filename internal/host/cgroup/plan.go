// Package cgroup holds processes of a container together, limits them and counts what they use, on cgroup v1, v2 and the
// mixed layout. Limits are planned as data (Plan, pure) and performed by a thin doer, so one process can plan and another,
// the container's parent, can perform and undo.
//
// It writes the files itself: the whole life of a group is a dozen short system calls here, where a general library opens
// and re-reads several times as many files, and the launcher links this package and must stay tiny. So: no fmt, no JSON.
package cgroup

import "strconv"

// Limits is what a container may use. Amounts of cpus and megabytes are integer thousandths.
type Limits struct {
	CPUs     int64 // weight against others; 1000 is one cpu
	CPULimit int64 // hard; 0: none unless Quota, -1: none at all
	Mem      int64 // what it should have, in thousandths of a megabyte
	MemLimit int64 // what it must not pass; 0: Mem, -1: no limit
	PIDs     int64 // most processes and threads at once; 0: no limit
	Quota    bool  // CPUs is also a hard limit when CPULimit is 0
}

// Plan is what is to be written where to hold one container.
type Plan struct {
	Groups   []Group  // empty: no cgroups
	OOMFile  string   // whose line "oom_kill N" counts processes killed for the limit
	MemLimit int64    // the hard limit in bytes; 0: none
	Join     []string // groups that processes join as well, which are another's to make and to remove
}

// Group is one directory to make, with the values to write into it. Processes join all groups of a plan.
type Group struct {
	Dir    string
	Writes []Write
}

// Write is one value for one file of a group. An optional one may be refused: a kernel without swap accounting, say.
type Write struct {
	File, Value string
	Optional    bool
}

// Dirs lists the plan's directories.
func (p Plan) Dirs() []string {
	var d []string
	for _, g := range p.Groups {
		d = append(d, g.Dir)
	}
	return d
}

const (
	sharesPerCPU = 1024
	minShares    = 2
	period       = 100_000 // microseconds, the kernel's own default
	minQuota     = 1_000
	minMemory    = 32 << 20 // less cannot even start a program reliably; the original has the same floor
)

// Shares is the weight of v1 for thousandths of a cpu.
func Shares(cpus int64) int64 { return max(minShares, cpus*sharesPerCPU/1000) }

// Weight maps v1's shares, 2 to 262144, onto v2's 1 to 10000.
func Weight(shares int64) int64 {
	return 1 + (min(max(shares, 2), 262144)-2)*9999/262142
}

// Bytes is thousandths of a megabyte in bytes.
func Bytes(mem int64) int64 { return mem * 1048576 / 1000 }

// quota gives microseconds of cpu per period, 0 when there is no limit.
func (l Limits) quota() int64 {
	cpus := l.CPULimit
	if cpus == 0 && l.Quota {
		cpus = l.CPUs
	}
	if cpus <= 0 {
		return 0
	}
	return max(minQuota, cpus*period/1000)
}

// memory gives the hard and the soft limit in bytes, 0 for none.
func (l Limits) memory() (hard, soft int64) {
	if l.Mem > 0 {
		soft = max(Bytes(l.Mem), minMemory)
	}
	switch {
	case l.MemLimit > 0:
		hard = max(Bytes(l.MemLimit), minMemory)
	case l.MemLimit == 0:
		hard = soft
	}
	return hard, soft
}

// Plan says what to make and write for the container of that name, below a parent that Prepare made. The name of a container
// below another is a path, the other's name first.
func (p *Parent) Plan(name string, l Limits) Plan {
	var plan Plan
	at := map[string]int{}
	group := func(c place) *Group {
		dir := c.dir + "/" + name
		i, ok := at[dir]
		if !ok {
			i = len(plan.Groups)
			at[dir] = i
			plan.Groups = append(plan.Groups, Group{Dir: dir})
		}
		return &plan.Groups[i]
	}
	add := func(c place, file string, v int64) {
		g := group(c)
		g.Writes = append(g.Writes, Write{File: file, Value: strconv.FormatInt(v, 10)})
	}
	// The group that everything is in comes first where there is one: v2's knows how to kill all at once.
	if p.unified != "" {
		group(place{p.unified, true})
	}
	if c, ok := p.places["cpu"]; ok {
		q := l.quota()
		switch {
		case c.v2:
			add(c, "cpu.weight", Weight(Shares(l.CPUs)))
			if q > 0 {
				g := group(c)
				g.Writes = append(g.Writes, Write{File: "cpu.max", Value: strconv.FormatInt(q, 10) + " " + strconv.Itoa(period)})
			}
		default:
			add(c, "cpu.shares", Shares(l.CPUs))
			if q > 0 {
				add(c, "cpu.cfs_period_us", period)
				add(c, "cpu.cfs_quota_us", q)
			}
		}
	}
	if c, ok := p.places["cpuacct"]; ok && !c.v2 {
		group(c)
	}
	if c, ok := p.places["memory"]; ok {
		hard, soft := l.memory()
		plan.MemLimit = hard
		g := group(c)
		w := func(file string, v int64, optional bool) {
			g.Writes = append(g.Writes, Write{file, strconv.FormatInt(v, 10), optional})
		}
		if c.v2 {
			// A death for memory takes the whole container, as it always did for users of the original.
			w("memory.oom.group", 1, true)
			if soft > 0 {
				w("memory.low", soft, false)
			}
			if hard > 0 {
				w("memory.max", hard, false)
				w("memory.swap.max", 0, true)
			}
			plan.OOMFile = g.Dir + "/memory.events"
		} else {
			if soft > 0 {
				w("memory.soft_limit_in_bytes", soft, false)
			}
			if hard > 0 {
				w("memory.limit_in_bytes", hard, false)
				w("memory.memsw.limit_in_bytes", hard, true)
			}
			plan.OOMFile = g.Dir + "/memory.oom_control"
		}
	}
	if c, ok := p.places["pids"]; ok {
		group(c)
		if l.PIDs > 0 {
			add(c, "pids.max", l.PIDs)
		}
	}
	for _, w := range wanted {
		if c, ok := p.places[w.name]; ok && w.more {
			group(c)
		}
	}
	return plan
}
