package container_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
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
			if x.Flags&o.flag != 0 {
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
			"capabilities": m{"bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps, "ambient": caps},
		},
		"linux": m{
			"namespaces": []m{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}, "devices": devices,
			"maskedPaths": s.Root.Masked, "readonlyPaths": s.Root.ReadOnly,
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

// meant are the differences between our containers and runc's that are wanted, by the beginnings of lines.
var meant = []struct{ prefix, why string }{
	{"SigIgn:", "runc hands on what its caller ignores; ours ignores nothing"},
	{"/proc/acpi ", "a hidden directory is empty and read-only in both; ours has no devices nor programs either"},
	{"/sys/firmware ", "as above"},
	{"/ ", "ours is an overlay without devices, where the test gives runc a plain directory"},
}

func TestAContainerIsMadeAsRuncMakesIt(t *testing.T) {
	c, n := started(t)
	s := c.spec("sh", "-c", look)
	rooted(t, &s)
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIP-HOST: there is no runc to compare with")
	}
	s.Hostname, s.NoNewPrivs = "boxed", true
	caps := standard.Capabilities()
	s.Effective, s.Bounding = &caps, &caps
	launch(t, n, s)
	if e := await(t, n); e.WaitStatus != 0 {
		t.Fatalf("ours ended with %#x: %s", e.WaitStatus, read(t, s.Sandbox, "stderr"))
	}
	ours := read(t, s.Sandbox, "stdout")

	bundle := t.TempDir()
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), runcSpec(t, &s, []string{"sh", "-c", look}), 0o600); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("pando-oracle-%d", os.Getpid())
	run := exec.CommandContext(t.Context(), "runc", "--root", filepath.Join(bundle, "state"), "run", "--bundle", bundle, id)
	theirs, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("runc: %v\n%s", err, theirs)
	}
	if d := cmp.Diff(normal(string(theirs)), normal(ours)); d != "" {
		t.Errorf("runc's (-) and ours (+):\n%s", d)
	}
}

// normal leaves out what is meant to differ, and sorts the mounts.
func normal(text string) []string {
	var out, mounts []string
	part := ""
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n ")
		if strings.HasPrefix(l, "## ") {
			part = l
		}
		if slices.ContainsFunc(meant, func(m struct{ prefix, why string }) bool { return strings.HasPrefix(l, m.prefix) }) {
			continue
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
