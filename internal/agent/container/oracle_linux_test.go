package container_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// look prints what a process can find out of how it was made.
const look = `
echo "## status"; grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|CapInh|CapPrm|CapEff|CapBnd|CapAmb|SigBlk|SigIgn):' /proc/self/status
echo "## mounts"; while read -r _ _ _ root at opts rest; do echo "$at $opts ${rest#*- }"; done < /proc/self/mountinfo
echo "## limits"; cut -c1-70 /proc/self/limits
echo "## devices"; for d in $(find /dev -type c | sort); do echo "$d $(stat -c '%t:%T %a %u:%g' $d)"; done; find /dev -type l | sort | while read -r l; do echo "$l $(readlink $l)"; done
echo "## descriptors"; ls /proc/self/fd | tr '\n' ' '; echo
echo "## place"; pwd; echo $$; hostname; umask
`

// runcSpec is a container's description as the OCI runtime specification has it.
func runcSpec(tb testing.TB, s *container.Spec, args []string) []byte {
	tb.Helper()
	type m = map[string]any
	names := func(nums []int) (out []string) {
		for _, n := range nums {
			out = append(out, "CAP_"+capNames[n])
		}
		return out
	}
	var mounts, devices []m
	for _, x := range s.Root.Mounts {
		var opts []string
		for _, o := range []struct {
			flag uint64
			name string
		}{{standard.ReadOnly, "ro"}, {standard.NoSuid, "nosuid"}, {standard.NoDev, "nodev"}, {standard.NoExec, "noexec"}, {1 << 24, "strictatime"}} {
			if x.Flags&o.flag != 0 && (x.Target != "/dev" || o.flag != standard.NoDev) { // the devices of others are in it
				opts = append(opts, o.name)
			}
		}
		switch x.Kind {
		case container.MountNew:
			if x.Data != "" {
				opts = append(opts, strings.Split(x.Data, ",")...)
			}
			mounts = append(mounts, m{"destination": x.Target, "type": x.FS, "source": x.FS, "options": opts})
		case container.MountBind:
			mounts = append(mounts, m{"destination": x.Target, "type": "bind", "source": x.Source, "options": append(opts, "bind")})
		}
	}
	caps := names(*s.Effective)
	spec := m{
		"ociVersion": "1.0.2", "hostname": s.Hostname, "root": m{"path": filepath.Join(s.Root.Store, s.Root.Layers[0])}, "mounts": mounts,
		"process": m{
			"args": args, "env": s.Env, "cwd": s.Workdir, "user": m{"uid": 0, "gid": 0}, "noNewPrivileges": s.NoNewPrivs,
			"capabilities": m{"bounding": caps, "effective": caps, "permitted": caps},
		},
		"linux": m{
			"namespaces": []m{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}, "devices": devices,
			"maskedPaths": s.Root.Masked, "readonlyPaths": s.Root.ReadOnly, "resources": m{
				"cpu":    m{"shares": cgroup.Shares(s.CPUs), "quota": s.CPUs * 100, "period": 100_000},
				"memory": m{"limit": cgroup.Bytes(s.Mem), "reservation": cgroup.Bytes(s.Mem)}, "pids": m{"limit": 77},
			},
		},
	}
	b, err := json.MarshalIndent(spec, "", " ")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

var capNames = map[int]string{
	0: "CHOWN", 1: "DAC_OVERRIDE", 3: "FOWNER", 4: "FSETID", 5: "KILL", 6: "SETGID", 7: "SETUID", 8: "SETPCAP", 10: "NET_BIND_SERVICE", 13: "NET_RAW",
	18: "SYS_CHROOT", 27: "MKNOD", 29: "AUDIT_WRITE", 31: "SETFCAP",
}

// meant are the differences between our containers and another runtime's that are wanted, by the beginnings of lines.
var meant = map[string][]struct{ prefix, why string }{
	"runc": {
		{"SigIgn:", "runc hands on what its caller ignores; ours ignores nothing"},
		{"/proc/acpi ", "a hidden directory is empty and read-only in both; ours has no devices nor programs either"},
		{"/sys/firmware ", "as above"},
		{"/ ", "ours is an overlay without devices, where the test gives runc a plain directory"},
	},
	"crun": {
		{"SigIgn:", "as of runc"},
		{"/ ", "as of runc"},
		{"/dev/core ", "crun links it to a file that is hidden"},
	},
}

// devices are mounts that ours have otherwise than any other runtime's: the nodes that a container makes in our /dev are of no use, so
// those that are there are mounts of their own.
var devices = []string{"/dev rw", "/dev/full rw", "/dev/null rw", "/dev/random rw", "/dev/tty rw", "/dev/urandom rw", "/dev/zero rw"}

// how are places that are hidden or sealed by both, but otherwise: crun leaves them their programs and devices, hides directories by a
// file system that can be written, and files by the machine's own /dev/null.
var how = map[string][]string{"crun": {"/proc/", "/sys/firmware "}}

// groupFiles are those of a container's cgroups that its limits are in, by the layouts' names; a soft limit of memory is what runc calls a
// reservation.
var groupFiles = []string{
	"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "memory.limit_in_bytes", "memory.soft_limit_in_bytes", "pids.max",
	"cpu.weight", "cpu.max", "memory.max", "memory.low",
}

// groupsOf prints the limits of a process, as its cgroups have them.
func groupsOf(tb testing.TB, pid int) (lines []string) {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		for _, file := range groupFiles {
			if controllers != "" && !slices.Contains(strings.Split(controllers, ","), strings.SplitN(file, ".", 2)[0]) {
				continue
			}
			if value, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", strings.Split(controllers, ",")[0], path, file)); err == nil {
				lines = append(lines, file+" "+strings.TrimSpace(string(value)))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// wait holds a container until its cgroups have been looked at; its sandbox is the same place for all.
const wait = "\nuntil [ -e /mnt/mesos/sandbox/go ]; do sleep 0.01; done"

func TestAContainerIsMadeAsOtherRuntimesMakeIt(t *testing.T) {
	for _, name := range []string{"runc", "crun"} {
		t.Run(name, func(t *testing.T) {
			c, n := started(t, func(c *container.Config) { c.Quota, c.PIDs = true, 77 })
			s := c.spec("sh", "-c", look+wait)
			rooted(t, &s)
			if _, err := exec.LookPath(name); err != nil {
				t.Skipf("SKIP-HOST: there is no %s to compare with", name)
			}
			s.Hostname, s.NoNewPrivs = "boxed", true
			caps := standard.Capabilities()
			s.Effective, s.Bounding = &caps, &caps
			st := launch(t, n, s)
			limits := groupsOf(t, int(st.PID))
			letGo(t, &s)
			if e := await(t, n); e.WaitStatus != 0 {
				t.Fatalf("ours ended with %#x: %s", e.WaitStatus, read(t, s.Sandbox, "stderr"))
			}
			ours := read(t, s.Sandbox, "stdout")
			if err := os.Remove(filepath.Join(s.Sandbox, "go")); err != nil {
				t.Fatal(err)
			}
			theirs, theirLimits := runBy(t, name, &s)
			if d := cmp.Diff(normal(theirs, name), normal(ours, name)); d != "" {
				t.Errorf("%s's (-) and ours (+):\n%s", name, d)
			}
			if d := cmp.Diff(theirLimits, limits); d != "" || len(limits) < 4 {
				t.Errorf("the cgroups, %s's (-) and ours (+):\n%s", name, d)
			}
		})
	}
}

// letGo ends the wait of a container.
func letGo(tb testing.TB, s *container.Spec) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(s.Sandbox, "go"), nil, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// runBy runs a container by another runtime, and gives its output and its limits.
func runBy(t *testing.T, name string, s *container.Spec) (output string, limits []string) {
	t.Helper()
	bundle := t.TempDir()
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), runcSpec(t, s, []string{"sh", "-c", look + wait}), 0o600); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(bundle, "pid")
	// crun refuses a machine with both layouts of cgroups, so it is not shown the newer one.
	script := `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`
	run := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-c", script, "sh", name, "--root", filepath.Join(bundle, "state"), "run", "--pid-file", pidFile, "--bundle", bundle, fmt.Sprintf("pando-oracle-%s-%d", name, os.Getpid()))
	var out strings.Builder
	run.Stdout, run.Stderr = &out, &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	for pid := 0; pid == 0; time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		default:
		}
		if b, err := os.ReadFile(pidFile); err == nil {
			pid, _ = strconv.Atoi(string(b)) // it may be half written
		}
		if pid != 0 {
			limits = groupsOf(t, pid)
		}
	}
	letGo(t, s)
	if err := <-ended; err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out.String())
	}
	return out.String(), limits
}

// normal leaves out what is meant to differ, and sorts the mounts.
func normal(text, runtime string) []string {
	var out, mounts []string
	part := ""
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n ")
		if strings.HasPrefix(l, "## ") {
			part = l
		}
		if slices.ContainsFunc(meant[runtime], func(m struct{ prefix, why string }) bool { return strings.HasPrefix(l, m.prefix) }) {
			continue
		}
		if slices.ContainsFunc(devices, func(prefix string) bool { return strings.HasPrefix(l, prefix) }) {
			continue
		}
		if slices.ContainsFunc(how[runtime], func(prefix string) bool { return strings.HasPrefix(l, prefix) }) {
			l, _, _ = strings.Cut(l, " ")
		}
		if part == "## mounts" {
			mounts = append(mounts, l)
			continue
		}
		out = append(out, l)
	}
	slices.Sort(mounts)
	return append(out, mounts...)
}
