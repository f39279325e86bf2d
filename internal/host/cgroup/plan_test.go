package cgroup

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	mountsV1 = `30 1 0:24 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
	mountsMore = `35 30 0:29 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
36 30 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
`
	mountsV2 = "31 1 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
	mixed    = `31 30 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
34 30 0:28 / /sys/fs/cgroup/uni\040fied rw - cgroup2 cgroup2 rw
`
)

// lay gives the parent that Prepare would make of these mounts if nothing refused.
func lay(mounts, controllers string, more ...string) *Parent {
	s := parse(mounts, func(string) []string { return strings.Fields(controllers) })
	p := &Parent{name: "pando/x", places: map[string]place{}, Lacks: s.Lacks}
	for n, c := range s.places {
		if slices.Contains(More(), n) && !slices.Contains(more, n) {
			continue
		}
		p.places[n] = place{c.dir + "/pando/x", c.v2}
		if c.v2 {
			p.unified = c.dir + "/pando/x"
		}
	}
	return p
}

// show writes a plan as lines.
func show(p Plan) string {
	var b strings.Builder
	for _, g := range p.Groups {
		b.WriteString(g.Dir + "\n")
		for _, w := range g.Writes {
			b.WriteString("  " + w.File + " = " + w.Value)
			if w.Optional {
				b.WriteString(" (optional)")
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("oom " + p.OOMFile + "\n")
	return b.String()
}

func TestPlansOfEachLayout(t *testing.T) {
	usual := Limits{CPUs: 1500, Mem: 96000, PIDs: 100}
	for _, tt := range []struct {
		name   string
		parent *Parent
		limits Limits
		want   string
	}{
		{"v1 with cpu and cpuacct together", lay(mountsV1, ""), usual, `/sys/fs/cgroup/cpu,cpuacct/pando/x/c
  cpu.shares = 1536
/sys/fs/cgroup/memory/pando/x/c
  memory.soft_limit_in_bytes = 100663296
  memory.limit_in_bytes = 100663296
  memory.memsw.limit_in_bytes = 100663296 (optional)
/sys/fs/cgroup/pids/pando/x/c
  pids.max = 100
oom /sys/fs/cgroup/memory/pando/x/c/memory.oom_control
`},
		{"v2", lay(mountsV2, "cpuset cpu io memory pids"), usual, `/sys/fs/cgroup/pando/x/c
  cpu.weight = 59
  memory.oom.group = 1 (optional)
  memory.low = 100663296
  memory.max = 100663296
  memory.swap.max = 0 (optional)
  pids.max = 100
oom /sys/fs/cgroup/pando/x/c/memory.events
`},
		{"mixed, the unified group first", lay(mixed, "memory pids"), Limits{CPUs: 1000, Mem: 64000, MemLimit: -1}, `/sys/fs/cgroup/uni fied/pando/x/c
  memory.oom.group = 1 (optional)
  memory.low = 67108864
/sys/fs/cgroup/cpu/pando/x/c
  cpu.shares = 1024
oom /sys/fs/cgroup/uni fied/pando/x/c/memory.events
`},
		{"hard limits of their own", lay(mountsV1, ""), Limits{CPUs: 100, CPULimit: 500, Mem: 64000, MemLimit: 128000}, `/sys/fs/cgroup/cpu,cpuacct/pando/x/c
  cpu.shares = 102
  cpu.cfs_period_us = 100000
  cpu.cfs_quota_us = 50000
/sys/fs/cgroup/memory/pando/x/c
  memory.soft_limit_in_bytes = 67108864
  memory.limit_in_bytes = 134217728
  memory.memsw.limit_in_bytes = 134217728 (optional)
/sys/fs/cgroup/pids/pando/x/c
oom /sys/fs/cgroup/memory/pando/x/c/memory.oom_control
`},
		{"a quota because the agent wants one", lay(mountsV2, "cpu"), Limits{CPUs: 2000, Quota: true}, `/sys/fs/cgroup/pando/x/c
  cpu.weight = 79
  cpu.max = 200000 100000
oom 
`},
		{"v1 with more", lay(mountsV1+mountsMore, "", "blkio", "cpuset"), Limits{CPUs: 1000}, `/sys/fs/cgroup/cpu,cpuacct/pando/x/c
  cpu.shares = 1024
/sys/fs/cgroup/memory/pando/x/c
/sys/fs/cgroup/pids/pando/x/c
/sys/fs/cgroup/blkio/pando/x/c
/sys/fs/cgroup/cpuset/pando/x/c
oom /sys/fs/cgroup/memory/pando/x/c/memory.oom_control
`},
		{"v1 with more that nobody asks for", lay(mountsV1+mountsMore, ""), Limits{CPUs: 1000}, `/sys/fs/cgroup/cpu,cpuacct/pando/x/c
  cpu.shares = 1024
/sys/fs/cgroup/memory/pando/x/c
/sys/fs/cgroup/pids/pando/x/c
oom /sys/fs/cgroup/memory/pando/x/c/memory.oom_control
`},
		{"v2 with more, which is in the same group", lay(mountsV2, "cpuset cpu io", "blkio", "cpuset"), Limits{CPUs: 1000}, `/sys/fs/cgroup/pando/x/c
  cpu.weight = 39
oom 
`},
		{"nothing", lay("", ""), usual, "oom \n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, show(tt.parent.Plan("c", tt.limits))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhatIsNotEnforcedIsNamedWithARemedy(t *testing.T) {
	for mounts, want := range map[string]int{mountsV1: 0, mixed: 3, "": 4} {
		lacks := lay(mounts, "").Lacks
		if len(lacks) != want {
			t.Errorf("%q lacks %+v", mounts, lacks)
		}
		if more := lay(mountsV2, "cpu memory pids").Lacks; len(more) > 0 {
			t.Errorf("v2 lacks %+v", more)
		}
		for _, l := range lacks {
			if l.What == "" || l.Why == "" || l.How == "" {
				t.Errorf("incomplete %+v", l)
			}
		}
	}
}

func TestAmountsNeverLeaveTheKernelsRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{
			CPUs:     rapid.Int64Range(0, 10_000_000).Draw(t, "cpus"),
			CPULimit: rapid.Int64Range(-1, 10_000_000).Draw(t, "cpu limit"),
			Mem:      rapid.Int64Range(0, 1<<40).Draw(t, "mem"),
			MemLimit: rapid.Int64Range(-1, 1<<40).Draw(t, "mem limit"),
		}
		if w := Weight(Shares(l.CPUs)); Shares(l.CPUs) < 2 || w < 1 || w > 10000 {
			t.Fatalf("shares %d, weight %d", Shares(l.CPUs), w)
		}
		if q := l.quota(); q != 0 && q < 1000 {
			t.Fatalf("quota %d", q)
		}
		hard, soft := l.memory()
		if hard != 0 && hard < minMemory || soft != 0 && soft < minMemory {
			t.Fatalf("memory %d %d", hard, soft)
		}
	})
}
