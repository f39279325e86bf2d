package container_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
)

// mounts skips a test where nothing may be mounted.
func mounts(tb testing.TB) {
	tb.Helper()
	if os.Getenv("PANDO_TEST_HOST") == "" || os.Geteuid() != 0 {
		tb.Skip("SKIP-HOST: it mounts: set PANDO_TEST_HOST=1, as root")
	}
	if known, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(known), "\toverlay\n") {
		tb.Skip("SKIP-HOST: the kernel has no overlay file system")
	}
}

// rooted gives a container a file system of its own: a layer of the test's, with the machine's programs bound into it.
func rooted(tb testing.TB, s *container.Spec) {
	tb.Helper()
	mounts(tb)
	store, scratch := tb.TempDir(), tb.TempDir()
	layer := filepath.Join(store, "base")
	for _, dir := range []string{"etc", "tmp", "usr"} {
		if err := os.MkdirAll(filepath.Join(layer, dir), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	binds := []container.Mount{{Kind: container.MountBind, Source: "/usr", Target: "/usr", Flags: standard.ReadOnly | standard.NoDev}}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		switch st, err := os.Lstat("/" + name); {
		case err != nil:
		case st.IsDir(): // a machine that has not merged it with /usr
			binds = append(binds, container.Mount{Kind: container.MountBind, Source: "/" + name, Target: "/" + name, Flags: standard.ReadOnly | standard.NoDev})
		default:
			if err := os.Symlink("usr/"+name, filepath.Join(layer, name)); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(layer, "etc/whose"), []byte("the image's\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
	s.Root = &container.Root{Store: store, Layers: []string{"base"}, Scratch: scratch, Masked: standard.Masked(), ReadOnly: standard.Sealed()}
	s.Root.Mounts = append(append(standard.Mounts(0), binds...), container.Mount{Kind: container.MountBind, Source: s.Sandbox, Target: "/mnt/mesos/sandbox"})
	s.Namespaces = container.Namespaces{PID: true, IPC: true, UTS: true}
	s.Workdir = "/mnt/mesos/sandbox"
}

func TestAContainerSeesFilesProcessesAndANameOfItsOwn(t *testing.T) {
	c, n := started(t)
	got := output(t, c, n, `cat /etc/whose; echo $$; hostname; ls -d /proc/[0-9]*; pwd; echo kept > file; echo changed > /etc/whose; cat /etc/whose
ls /; stat -c '%t:%T %a' /dev/null; ls -l /dev/fd | sed 's/.* -> //'; echo x > /dev/shm/x && cat /dev/shm/x`, func(s *container.Spec) {
		rooted(t, s)
		s.Hostname = "boxed"
	})
	want := `the image's
1
boxed
/proc/1
/mnt/mesos/sandbox
changed
bin
dev
etc
lib
lib64
mnt
proc
sbin
sys
tmp
usr
1:3 666
/proc/self/fd
x
`
	if got != want {
		t.Errorf("it sees\n%s\nwant\n%s", got, want)
	}
}

func TestWhatAContainerChangesStaysInItsScratchAndSandboxAndIsGoneFromTheMachine(t *testing.T) {
	c, n := started(t)
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var spec container.Spec
	output(t, c, n, "echo kept > file; echo changed > /etc/whose; mkdir /new", func(s *container.Spec) {
		rooted(t, s)
		spec = *s
	})
	if got := read(t, spec.Sandbox, "file"); got != "kept\n" {
		t.Errorf("the sandbox has %q", got)
	}
	if got := read(t, spec.Root.Store, "base/etc/whose"); got != "the image's\n" {
		t.Errorf("the layer has %q", got)
	}
	if got := read(t, spec.Root.Scratch, "upper/etc/whose"); got != "changed\n" {
		t.Errorf("the scratch has %q", got)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || string(after) != string(before) {
		t.Errorf("the machine's mounts were\n%s\nand are\n%s\n(%v)", before, after, err)
	}
}

func TestThePathsThatReachTheMachineAreHiddenOrSealed(t *testing.T) {
	c, n := started(t)
	got := output(t, c, n, `for p in /proc/kcore /proc/keys /proc/timer_list; do [ ! -e $p ] || [ -z "$(head -c1 $p)" ] || echo $p is shown; done
[ -z "$(ls /sys/firmware)" ] || echo /sys/firmware is shown
for p in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/uevent_helper /proc/sys/kernel/core_pattern; do (echo x > $p) 2>/dev/null && echo $p is written; done
(mknod /disk b 8 0 && head -c1 /disk) 2>/dev/null && echo a disk is read
(echo x > /usr/bin/x) 2>/dev/null && echo a read-only mount is written
(mount -t tmpfs none /mnt) 2>/dev/null && echo it mounts
(umount /proc/keys) 2>/dev/null && echo it unmounts
ls /proc/1/root/ | head -1; exit 0`, func(s *container.Spec) {
		rooted(t, s)
		caps := standard.Capabilities()
		s.Effective = &caps
	})
	if got != "bin\n" {
		t.Errorf("%s", got)
	}
}

// The first process of a pid namespace has no defaults for signals: without help `sleep` would sit out the grace.
func TestTheFirstProcessOfANamespaceEndsByTheSignalsThatItDoesNotHandle(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		status uint32
	}{
		"one that does nothing about it":    {"exec sleep 1000", uint32(syscall.SIGTERM)},
		"one that handles it":               {"trap 'exit 7' TERM; echo > ready; while :; do sleep 0.01; done", 7 << 8},
		"one that ignores it sits it out":   {"trap '' TERM; echo > ready; while :; do sleep 0.01; done", uint32(syscall.SIGKILL)},
		"with a child that does not end":    {"sh -c \"trap '' TERM; while :; do sleep 0.01; done\" & exec sleep 1000", uint32(syscall.SIGTERM)},
		"a shell that has no trap is ended": {"while :; do sleep 0.01; done", uint32(syscall.SIGTERM)},
	} {
		t.Run(name, func(t *testing.T) {
			box, n := started(t)
			s := box.spec("sh", "-c", c.script)
			rooted(t, &s)
			launch(t, n, s)
			if strings.Contains(c.script, "ready") {
				for _, err := os.Stat(filepath.Join(s.Sandbox, "ready")); err != nil; _, err = os.Stat(filepath.Join(s.Sandbox, "ready")) {
					time.Sleep(time.Millisecond)
				}
			}
			grace := 20 * time.Second
			if c.status == uint32(syscall.SIGKILL) {
				grace = 300 * time.Millisecond
			}
			begun := time.Now()
			if err := n.Kill(s.ID, grace); err != nil {
				t.Fatal(err)
			}
			if e := await(t, n); e.WaitStatus != c.status {
				t.Errorf("the wait status is %#x, want %#x", e.WaitStatus, c.status)
			}
			if d := time.Since(begun); c.status != uint32(syscall.SIGKILL) && d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

func TestACommandBesideAContainerIsInItsNamespacesAndFiles(t *testing.T) {
	c, n := started(t)
	s := c.spec("sh", "-c", "echo > ready; sleep 1000")
	rooted(t, &s)
	s.Hostname = "boxed"
	launch(t, n, s)
	code, err := n.Run(t.Context(), s.ID, container.Command{Args: []string{
		"sh", "-c",
		`[ "$(cat /etc/whose)" = "the image's" ] && [ "$(hostname)" = boxed ] && [ "$(pwd)" = /mnt/mesos/sandbox ] && tr '\0' ' ' < /proc/1/cmdline | grep -q 'sleep 1000' && kill -0 1`,
	}})
	if err != nil || code != 0 {
		t.Errorf("%d, %v", code, err)
	}
	// The shim still starts others among the machine's processes.
	other := c.spec("sh", "-c", "echo $$ > pid; readlink /proc/self/ns/pid > ns")
	launch(t, n, other)
	await(t, n)
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || strings.TrimSpace(read(t, other.Sandbox, "ns")) != own {
		t.Errorf("a later container is in %s, and we are in %s (%v)", read(t, other.Sandbox, "ns"), own, err)
	}
	if err := n.Kill(s.ID, 0); err != nil {
		t.Fatal(err)
	}
	await(t, n)
}

// hostile are layers that try to have the launcher write, mount or look outside of the container.
func TestLinksOfAnImageLeadNowhereOutsideOfIt(t *testing.T) {
	outside := t.TempDir()
	for name, c := range map[string]struct {
		target  string
		prepare func(layer string) error
		refused bool
	}{
		"a link to the machine's root is the image's own root": {"/link/inside", func(l string) error { return os.Symlink("/", filepath.Join(l, "link")) }, false},
		"a link that climbs out does not get out":              {"/link/inside", func(l string) error { return os.Symlink("../../../../../../../..", filepath.Join(l, "link")) }, false},
		"a link to a place that is not there":                  {"/link/inside", func(l string) error { return os.Symlink(outside+"/none", filepath.Join(l, "link")) }, true},
		"a file where a directory is to be":                    {"/link/inside", func(l string) error { return os.WriteFile(filepath.Join(l, "link"), nil, 0o600) }, true},
		"a link in place of /proc":                             {"/proc/x", func(l string) error { return os.Symlink(outside, filepath.Join(l, "proc")) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			box, n := started(t)
			s := box.spec("sh", "-c", "ls /inside")
			rooted(t, &s)
			if err := c.prepare(filepath.Join(s.Root.Store, "base")); err != nil {
				t.Fatal(err)
			}
			s.Root.Mounts = append(s.Root.Mounts, container.Mount{Kind: container.MountNew, FS: "tmpfs", Target: c.target, Flags: standard.NoSuid})
			_, err := n.Launch(t.Context(), s)
			if refused := container.KindOf(err) == container.KindRoot; refused != c.refused || err != nil && !refused {
				t.Errorf("%v", err)
			}
			if err == nil {
				if e := await(t, n); e.WaitStatus != 0 {
					t.Errorf("%#x: %s", e.WaitStatus, read(t, s.Sandbox, "stderr"))
				}
			}
			if in, err := os.ReadDir(outside); err != nil || len(in) != 0 {
				t.Errorf("outside is %v, %v", in, err)
			}
			if _, err := os.Stat("/inside"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was made on the machine: %v", err)
			}
		})
	}
}

// What runs a container is within its reach by /proc/PID/exe; root in it may open that, wait for the end, and write.
func TestWhatStartsContainersCannotBeWritten(t *testing.T) {
	c, n := started(t)
	s := c.spec("sleep", "1000")
	launch(t, n, s)
	pids := container.ShimPIDs(c.dir)
	if len(pids) == 0 {
		t.Fatal("there is no shim")
	}
	exe, err := os.Open("/proc/" + strconv.Itoa(pids[0]) + "/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	if err := n.Kill(s.ID, 0); err != nil {
		t.Fatal(err)
	}
	await(t, n)
	n.Forget(s.ID)
	for _, pid := range container.ShimPIDs(c.dir) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	again, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(exe.Fd())), os.O_WRONLY, 0)
	for end := time.Now().Add(5 * time.Second); errors.Is(err, syscall.ETXTBSY) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		again, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(exe.Fd())), os.O_WRONLY, 0)
	}
	if err == nil {
		if _, err = again.Write([]byte("#!")); err == nil {
			t.Error("it was overwritten")
		}
		again.Close()
	}
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ETXTBSY) {
		t.Errorf("%v", err)
	}
}

func TestAContainerWithoutAnImageAloneSeesWhatIsShownToIt(t *testing.T) {
	mounts(t)
	c, n := started(t)
	shown, place := filepath.Join(t.TempDir(), "shown"), t.TempDir()
	for path, text := range map[string]string{shown: "shown\n", filepath.Join(place, "file"): "the machine's\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cover := func(s *container.Spec, targets ...string) {
		s.Root, s.Namespaces, s.Hostname = &container.Root{}, container.Namespaces{UTS: true}, "boxed"
		for _, target := range targets {
			s.Root.Mounts = append(s.Root.Mounts, container.Mount{Kind: container.MountBind, Source: shown, Target: target, Flags: standard.ReadOnly})
		}
	}
	got := output(t, c, n, "cat "+place+"/file; hostname; ! echo x > "+place+"/file", func(s *container.Spec) { cover(s, place+"/file") })
	if got != "shown\nboxed\n" {
		t.Errorf("it sees %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(place, "file")); err != nil || string(b) != "the machine's\n" {
		t.Errorf("the machine's file is %q, %v", b, err)
	}
	s := c.spec("true")
	cover(&s, place+"/none")
	if _, err := n.Launch(t.Context(), s); container.KindOf(err) != container.KindRoot {
		t.Errorf("where there is nothing: %v", err)
	}
	if _, err := os.Lstat(place + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made on the machine: %v", err)
	}
	s = c.spec("true")
	cover(&s, place+"/file")
	s.Root.Mounts[0].Kind, s.Root.Mounts[0].FS = container.MountNew, "tmpfs"
	if _, err := n.Launch(t.Context(), s); container.KindOf(err) != container.KindInvalid {
		t.Errorf("a file system of its own on the machine's files: %v", err)
	}
}

func TestAContainerIsInTheNetworkNamespaceThatItIsGiven(t *testing.T) {
	mounts(t)
	c, n := started(t)
	path := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread is not to be used again
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(path, unix.MNT_DETACH)
	for name, edit := range map[string]func(*container.Spec){"with an image": func(s *container.Spec) { rooted(t, s) }, "without one": func(*container.Spec) {}} {
		t.Run(name, func(t *testing.T) {
			s := c.spec("sh", "-c", "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '; echo > ready; sleep 1000")
			edit(&s)
			s.NetNS = path
			launch(t, n, s)
			if code, err := n.Run(t.Context(), s.ID, container.Command{Args: []string{"sh", "-c", "until [ -e ready ]; do sleep 0.01; done; [ $(cat /proc/net/dev | wc -l) = 3 ]"}}); err != nil || code != 0 {
				t.Errorf("a command beside it: %d, %v", code, err)
			}
			if got := read(t, s.Sandbox, "stdout"); got != "lo\n" {
				t.Errorf("it has %q", got)
			}
			if err := n.Kill(s.ID, 0); err != nil {
				t.Fatal(err)
			}
			await(t, n)
		})
	}
}
