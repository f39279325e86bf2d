package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlansOfContainersBelowOthers(t *testing.T) {
	usual := Limits{CPUs: 1500, Mem: 96000}
	v1, v2 := lay(mountsV1, ""), lay(mountsV2, "cpuset cpu io memory pids")
	show := func(p Plan) string {
		s := show(p)
		for _, d := range p.Join {
			s += "join " + d + "\n"
		}
		return s
	}
	for _, tt := range []struct {
		name string
		plan Plan
		want string
	}{
		{"v1, one that holds others", v1.PlanHolder("p", usual), `/sys/fs/cgroup/cpu,cpuacct/pando/x/p
  cpu.shares = 1536
/sys/fs/cgroup/memory/pando/x/p
  memory.use_hierarchy = 1 (optional)
  memory.soft_limit_in_bytes = 100663296
  memory.limit_in_bytes = 100663296
  memory.memsw.limit_in_bytes = 100663296 (optional)
/sys/fs/cgroup/pids/pando/x/p
oom /sys/fs/cgroup/memory/pando/x/p/memory.oom_control
`},
		{"v2, one that holds others", v2.PlanHolder("p", usual), `/sys/fs/cgroup/pando/x/p
  cpu.weight = 59
  memory.oom.group = 1 (optional)
  memory.low = 100663296
  memory.max = 100663296
  memory.swap.max = 0 (optional)
  cgroup.subtree_control = +cpu +memory +pids
oom /sys/fs/cgroup/pando/x/p/memory.events
`},
		{"v2 with more, one that holds others", lay(mountsV2, "cpuset cpu io", "blkio", "cpuset").PlanHolder("p", Limits{CPUs: 1000}), `/sys/fs/cgroup/pando/x/p
  cpu.weight = 39
  cgroup.subtree_control = +cpu +io +cpuset
oom 
`},
		{"v1, one that shares", v1.PlanShared("p/c", "p", 100), `/sys/fs/cgroup/pids/pando/x/p/c
  pids.max = 100
oom /sys/fs/cgroup/memory/pando/x/p/memory.oom_control
join /sys/fs/cgroup/cpu,cpuacct/pando/x/p
join /sys/fs/cgroup/memory/pando/x/p
`},
		{"v1, one that shares below one that shares", v1.PlanShared("p/c/d", "p", 0), `/sys/fs/cgroup/pids/pando/x/p/c/d
oom /sys/fs/cgroup/memory/pando/x/p/memory.oom_control
join /sys/fs/cgroup/cpu,cpuacct/pando/x/p
join /sys/fs/cgroup/memory/pando/x/p
`},
		{"v2, one that shares", v2.PlanShared("p/c", "p", 100), `/sys/fs/cgroup/pando/x/p/c
  pids.max = 100 (optional)
oom /sys/fs/cgroup/pando/x/p/memory.events
`},
		{"mixed, one that shares", lay(mixed, "memory pids").PlanShared("p/c", "p", 0), `/sys/fs/cgroup/uni fied/pando/x/p/c
oom /sys/fs/cgroup/uni fied/pando/x/p/memory.events
join /sys/fs/cgroup/cpu/pando/x/p
`},
		{"nothing", lay("", "").PlanShared("p/c", "p", 100), "oom \n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, show(tt.plan)); d != "" {
				t.Error(d)
			}
		})
	}
}
