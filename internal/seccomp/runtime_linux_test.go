package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// host skips a test that is not for this machine.
func host(t *testing.T) {
	t.Helper()
	if os.Getenv("PANDO_TEST_HOST") == "" {
		t.Skip("it runs containers as root: set PANDO_TEST_HOST=1, or make host")
	}
	if os.Getuid() != 0 {
		t.Skip("it runs containers and needs root")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("its list of dangerous calls is for amd64, and this is " + runtime.GOARCH)
	}
}

// oracle is a runtime that installs a profile by libseccomp. A filter that is newer than its libseccomp is cut to what that knows.
type oracle struct{ name, path string }

// horizon is the last call that libseccomp 2.5.4, Debian 12's, has a name for (kernel 5.17).
const horizon = 450

func oracles(t *testing.T) (list []oracle) {
	t.Helper()
	for _, name := range []string{"runc", "crun"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not here to compare with: install it", name)
			continue
		}
		list = append(list, oracle{name, path})
	}
	if len(list) == 0 {
		t.Skip("neither runc nor crun is installed: apt-get install runc")
	}
	return list
}

// bundle is a root file system with the two programs, in which containers run that differ only in who installs the profile.
type bundle struct {
	dir  string
	caps []string
}

func newBundle(t *testing.T, caps []string) bundle {
	t.Helper()
	b := bundle{t.TempDir(), caps}
	root := filepath.Join(b.dir, "rootfs")
	for _, dir := range []string{"proc", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []struct{ out, pkg, arch string }{
		{"probe", "probe", "amd64"}, {"probe386", "probe", "386"}, {"install", "install", "amd64"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, p.out), "./testdata/"+p.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+p.arch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", p.out, err, out)
		}
	}
	return b
}

func (b bundle) put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, "rootfs", name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// needs skips what this kernel cannot execute: programs of i386, where it is built without them.
func (b bundle) needs(t *testing.T, probe string) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), filepath.Join(b.dir, "rootfs", probe), "/dev/null").Run(); err != nil {
		t.Skipf("this kernel does not execute %s: %v", probe, err)
	}
}

// run runs a command in a container and gives what it printed and how it ended.
func (b bundle) run(t *testing.T, o oracle, profile *specs.LinuxSeccomp, args ...string) (out string, err error) {
	t.Helper()
	spec := specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			Args: args, Cwd: "/", NoNewPrivileges: true, Env: []string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"},
			Capabilities: &specs.LinuxCapabilities{Bounding: b.caps, Effective: b.caps, Permitted: b.caps},
		},
		Root:   &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace}},
			Seccomp:    profile,
		},
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "config.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("pando-seccomp-%d", os.Getpid())
	state := filepath.Join(b.dir, "state")
	// crun wants cgroup v1 alone or v2 alone; where both are mounted it gets a mount namespace without v2.
	script := `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-c", script, "sh", o.path, "--root", state, "run", "--bundle", b.dir, id)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil && len(stdout) == 0 && stderr.Len() > 0 {
		t.Logf("%s: %v: %s", o.name, err, stderr.String())
	}
	return string(stdout), err
}

// both runs the same calls under the runtime's filter and under ours.
func (b bundle) both(t *testing.T, o oracle, profile *specs.LinuxSeccomp, probe string) (theirs, ours string) {
	t.Helper()
	raw, err := json.Marshal(profile)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	target, err := Here(b.caps)
	if err != nil {
		t.Fatal(err)
	}
	b.put(t, "program", compile(t, p, target).Encode())
	if theirs, err = b.run(t, o, profile, probe, "/calls"); err != nil {
		t.Fatalf("%s with its own filter: %v\n%s", o.name, err, theirs)
	}
	if ours, err = b.run(t, o, nil, "/install", "/program", probe, "/calls"); err != nil {
		t.Fatalf("%s with our filter: %v\n%s", o.name, err, ours)
	}
	return theirs, ours
}

// dangerous calls end or hold up the probe, or are not repeatable.
func dangerous(arch string) (list []uint32) {
	a := map[string]abi{"amd64": {numbers: amd64Numbers}, "386": i386()}[arch]
	for _, name := range []string{
		"exit", "exit_group", "fork", "vfork", "pause", "rt_sigreturn", "sigreturn", "sigsuspend", "vhangup", "sync", "uretprobe", "uprobe",
		"restart_syscall", "reboot", "idle", "vm86", "vm86old", "waitpid", "modify_ldt", "kill", "nice", "setsid", "umask", "brk", "set_thread_area",
		"munlockall", "alarm", "signal",
	} {
		if nr, ok := a.lookup(name); ok {
			list = append(list, nr)
		}
	}
	return list
}

// sweep has each call with arguments that no call can use, and those that the default profile looks into with many.
func sweep(arch string) string {
	var b strings.Builder
	skip := dangerous(arch)
	for nr := range uint32(600) {
		if !slices.Contains(skip, nr) {
			fmt.Fprintf(&b, "%d -1 -1 -1 -1 -1 -1\n", nr)
		}
	}
	a := map[string]abi{"amd64": {numbers: amd64Numbers}, "386": i386()}[arch]
	for _, v := range argumentsOfInterest() {
		for _, name := range []string{"personality", "socket"} {
			nr, _ := a.lookup(name)
			fmt.Fprintf(&b, "%d %d -1 -1 -1 -1 -1\n", nr, v)
		}
	}
	nr, _ := a.lookup("clone")
	for bit := range 32 { // CLONE_SIGHAND without CLONE_VM: if it comes through, the kernel refuses it
		fmt.Fprintf(&b, "%d %d 0 0 0 0 0\n", nr, 0x800|uint32(1)<<bit&^0x100)
	}
	return strings.ReplaceAll(b.String(), "-1", fmt.Sprint(^uint64(0)>>map[string]int{"amd64": 0, "386": 32}[arch]))
}

// upTo leaves the calls that libseccomp knows.
func upTo(t *testing.T, profile *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	t.Helper()
	out := *profile
	out.Syscalls = nil
	for _, rule := range profile.Syscalls {
		rule.Names = slices.DeleteFunc(slices.Clone(rule.Names), func(name string) bool {
			a, _ := native(AMD64)
			nr, ok := a.lookup(name)
			return ok && nr > horizon
		})
		if len(rule.Names) > 0 {
			out.Syscalls = append(out.Syscalls, rule)
		}
	}
	return &out
}

func defaultSpec(t *testing.T, caps []string) *specs.LinuxSeccomp {
	t.Helper()
	var p specs.LinuxSeccomp
	if err := json.Unmarshal(mobys(t, caps), &p); err != nil {
		t.Fatal(err)
	}
	return upTo(t, &p)
}

// lines tells outputs apart line by line. Crun has no ENOSYS for calls that are newer than the profile, which ends before
// the horizon without CAP_SYS_NICE, so that is where it stops.
func lines(o oracle, out string) []string {
	list := strings.Split(out, "\n")
	if o.name == "crun" {
		list = slices.DeleteFunc(list, func(line string) bool {
			var nr int
			_, err := fmt.Sscan(line, &nr)
			return err == nil && nr >= horizon
		})
	}
	return list
}

func TestTheDefaultProfileActsAsUnderARuntimeWithLibseccomp(t *testing.T) {
	host(t)
	for _, o := range oracles(t) {
		for name, caps := range map[string][]string{"Docker's capabilities": plainCaps(), "more capabilities": {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_NICE"}} {
			b := newBundle(t, caps)
			for probe, arch := range map[string]string{"/probe": "amd64", "/probe386": "386"} {
				t.Run(o.name+", "+name+", "+arch, func(t *testing.T) {
					b.needs(t, probe)
					b.put(t, "calls", []byte(sweep(arch)))
					theirs, ours := b.both(t, o, defaultSpec(t, caps), probe)
					if d := cmp.Diff(lines(o, theirs), lines(o, ours)); d != "" {
						t.Errorf("-%s +ours\n%s", o.name, d)
					}
					if n := strings.Count(ours, "\n"); n < 600 || strings.Count(ours, "-> 1\n") < 30 {
						t.Errorf("%d lines: not much is compared\n%s", n, ours)
					}
				})
			}
		}
	}
}

// Calls that ignore their arguments get rules that look at them.
func TestConditionsActAsUnderARuntimeWithLibseccomp(t *testing.T) {
	host(t)
	profile := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86}}
	errno := uint(100)
	values := []uint64{0, 5, 0x80000000, 0xffffffff, 1 << 32, 5<<32 | 5, 1<<63 | 1, 1<<64 - 1}
	ops := []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}
	calls := []string{"getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "gettid", "sched_yield", "getpgrp"}
	add := func(name string, args ...specs.LinuxSeccompArg) {
		n := errno
		errno++
		profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &n, Args: args})
	}
	arg := func(index uint, op specs.LinuxSeccompOperator, v uint64) specs.LinuxSeccompArg {
		a := specs.LinuxSeccompArg{Index: index, Op: op, Value: v}
		if op == specs.OpMaskedEqual {
			a.ValueTwo = v ^ 0xf0 // some bits of it are outside of the mask
		}
		return a
	}
	for i, name := range calls[:7] {
		add(name, arg(uint(i%6), ops[i], values[5]))
	}
	add(calls[7], arg(1, ops[3], values[1]), arg(2, ops[5], values[3])) // both
	add(calls[8], arg(1, ops[3], values[1]), arg(1, ops[3], values[5])) // either
	for _, o := range oracles(t) {
		b := newBundle(t, nil)
		for probe, a := range map[string]abi{"/probe": {bits: 64, numbers: amd64Numbers}, "/probe386": i386()} {
			t.Run(o.name+probe, func(t *testing.T) {
				b.needs(t, probe)
				b.put(t, "calls", []byte(compared(a, calls, values)))
				theirs, ours := b.both(t, o, profile, probe)
				if d := cmp.Diff(strings.Split(theirs, "\n"), strings.Split(ours, "\n")); d != "" || !strings.Contains(ours, "-> 108") {
					t.Errorf("-theirs +ours\n%s", d)
				}
			})
		}
	}
}

// compared has each call with arguments around each value: all of them, and one between those that others are compared with.
func compared(a abi, calls []string, values []uint64) string {
	var list strings.Builder
	for _, name := range calls {
		nr, _ := a.lookup(name)
		for _, v := range values {
			for _, near := range []uint64{v - 1, v, v + 1} {
				near &= 1<<a.bits - 1
				fmt.Fprintf(&list, "%d %[2]d %[2]d %[2]d %[2]d %[2]d %[2]d\n%[1]d 7 5 %[2]d 7 7 7\n", nr, near)
			}
		}
	}
	return list.String()
}

// exit is how a command ended, in words that both runtimes share: they have 128 and the signal in their own exit status.
func exit(err error) int {
	if status, ok := errors.AsType[*exec.ExitError](err); ok {
		return status.ExitCode()
	}
	return 0
}

func TestActionsThatEndAProcessDoSoUnderTheKernel(t *testing.T) {
	host(t)
	b := newBundle(t, nil)
	o := oracles(t)[0]
	b.put(t, "calls", []byte(fmt.Sprintf("%d\n", 110))) // getppid
	for name, tt := range map[string]struct {
		then Action
		want int
	}{
		"KILL_PROCESS ends it by SIGSYS":         {KillProcess, 128 + 31},
		"TRAP sends SIGSYS, which ends Go so":    {Trap, 2},
		"ALLOW lets it happen":                   {Allow, 0},
		"LOG lets it happen":                     {Log, 0},
		"TRACE without a tracer fails, it lives": {Trace(1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Profile{Default: Allow, LogAll: true, SpecAllow: true, Rules: []Rule{{Names: []string{"getppid"}, Action: tt.then}}}
			if tt.then == Allow {
				p.Default = Log
			}
			b.put(t, "program", compile(t, p, Target{Arch: AMD64, Kernel: Kernel{6, 1}}).Encode())
			out, err := b.run(t, o, nil, "/install", "/program", "/probe", "/calls")
			if exit(err) != tt.want || tt.then == Trace(1) && !strings.Contains(out, "-> 38") {
				t.Errorf("%v, want %d: %s", err, tt.want, out)
			}
		})
	}
}
