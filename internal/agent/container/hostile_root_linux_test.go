package container_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
)

// caged is a container of root with an image, with what one has where nothing more is asked for. docs/security.md lists these tests.
func caged(t *testing.T, s *container.Spec) {
	t.Helper()
	rooted(t, s)
	caps := standard.Capabilities()
	s.Effective = &caps
}

// fails runs a script that succeeds when it gets out, and says what it printed if it did.
func fails(t *testing.T, script string, edit func(*container.Spec)) {
	t.Helper()
	c, n := started(t)
	s := c.spec("sh", "-c", script)
	caged(t, &s)
	if edit != nil {
		edit(&s)
	}
	launch(t, n, s)
	if e := await(t, n); e.WaitStatus == 0 {
		t.Errorf("it got out: %s%s", read(t, s.Sandbox, "stdout"), read(t, s.Sandbox, "stderr"))
	}
	n.Forget(s.ID)
}

// waysOut are scripts that succeed when they get out of a container, or could change the machine; then they write what is there
// already. Those that are open do succeed where nothing is shut, or a script that fails for want of a program would prove nothing.
var waysOut = map[string]struct {
	open   bool
	script string
}{
	"a directory of the machine's behind a descriptor": {false, `for fd in /proc/self/fd/*; do ls -d $fd/../../../../../../../root/.ssh $fd/etc/shadow && exit 0; done 2>/dev/null; exit 1`},
	"a working directory that is the machine's":        {false, `cd /proc/self/cwd/../../../../../../.. && [ "$(cat etc/whose)" = "the image's" ] && exit 1`},
	"the release agent of a cgroup":                    {false, `mkdir /c && mount -t cgroup -o memory none /c && echo "$(cat /c/release_agent)" > /c/release_agent`},
	"a cgroup of version 2":                            {true, `mkdir /c && mount -t cgroup2 none /c`},
	"the pattern of cores":                             {true, `echo "$(cat /proc/sys/kernel/core_pattern)" > /proc/sys/kernel/core_pattern`},
	"the helper of hotplugged devices":                 {false, `echo "$(cat /sys/kernel/uevent_helper)" > /sys/kernel/uevent_helper`},
	"the helper that loads modules":                    {false, `echo "$(cat /proc/sys/kernel/modprobe)" > /proc/sys/kernel/modprobe`},
	"the handler of unknown binaries":                  {false, `echo 1 > /proc/sys/fs/binfmt_misc/status`},
	"a disk by its number":                             {false, `for n in 8:0 253:0 254:0 259:0; do mknod /d b ${n%:*} ${n#*:} && head -c1 /d >/dev/null && exit 0; rm -f /d; done; exit 1`},
	"a disk by its number, in /dev":                    {false, `for n in 8:0 253:0 254:0 259:0; do mknod /dev/d b ${n%:*} ${n#*:} || exit 0; head -c1 /dev/d >/dev/null && exit 0; rm -f /dev/d; done; exit 1`},
	"a device of its own making, in /dev":              {false, `mknod /dev/d c 1 5 || exit 0; head -c1 /dev/d`},
	"a device in the terminals' place":                 {false, `mknod /dev/pts/d c 1 5 && head -c1 /dev/pts/d`},
	"a device behind one that is there":                {false, `mknod /tmp/d c 1 5 || exit 0; rm -f /dev/full; mv /tmp/d /dev/full; cp -a /tmp/d /dev/shm/d; head -c1 /dev/shm/d`},
	"the machine's memory":                             {false, `mknod /m c 1 1 && head -c1 /m`},
	"the processes of the machine":                     {true, `[ "$(ls -d /proc/[0-9]* | wc -l)" -gt 5 ]`},
	"the root of the first process of the machine":     {false, `ls /proc/1/root/root/.ssh /proc/1/root/etc/shadow`},
	"the keys of the machine":                          {false, `[ -s /proc/keys ]`},
	"a mount over what is hidden":                      {true, `mount -t proc none /mnt`},
	"what is hidden, once it is unmounted":             {false, `umount /proc/kcore || umount -l /proc/timer_list`},
	"a sealed path, once it is mounted anew":           {false, `mount -o remount,rw /proc/sys`},
	"a new user namespace with more than this":         {false, `unshare -Ur mount -t tmpfs none /mnt`},
	"the machine's name":                               {true, `hostname "$(hostname)"`},
	"the machine's clock":                              {true, `python3 -c 'import time;c=time.CLOCK_REALTIME;time.clock_settime(c,time.clock_gettime(c))'`},
	"a handle of a file, from which any can be opened": {true, `python3 -c 'import ctypes,os;l=ctypes.CDLL(None,use_errno=True);h=(ctypes.c_char*136)();ctypes.memmove(h,(8).to_bytes(4,"little")+(1).to_bytes(4,"little")+(2).to_bytes(4,"little"),12);f=l.open_by_handle_at(os.open("/mnt/mesos/sandbox",0),h,0);os._exit(0 if f>=0 else 1)'`},
	"what the launcher's environment tells":            {true, `for p in /proc/[0-9]*; do [ "$p" != /proc/$$ ] && cat $p/environ 2>/dev/null | tr '\0' '\n' | grep -q GOMAXPROCS && exit 0; done; exit 1`},
	"more capabilities than it was given":              {true, `grep -q '^CapBnd:.*ffff' /proc/self/status`},
}

func TestTheFieldsKnownWaysOutOfAContainerAreShut(t *testing.T) {
	for name, way := range waysOut {
		t.Run(name, func(t *testing.T) { fails(t, way.script, nil) })
	}
}

func TestTheSameWaysAreOpenWhereNothingIsShut(t *testing.T) {
	for name, way := range waysOut {
		if !way.open {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(way.script, "python3") {
				if _, err := exec.LookPath("python3"); err != nil {
					t.Skip("SKIP-HOST: ", err)
				}
			}
			c, n := started(t)
			s := c.spec("sh", "-c", way.script)
			rooted(t, &s)
			s.Root.Masked, s.Root.ReadOnly, s.Namespaces = nil, nil, container.Namespaces{Mount: true}
			launch(t, n, s)
			if e := await(t, n); e.WaitStatus != 0 {
				t.Errorf("the script proves nothing: %#x %s", e.WaitStatus, read(t, s.Sandbox, "stderr"))
			}
		})
	}
}

func TestAFullTmpfsIsTheContainersOwnAffair(t *testing.T) {
	fails(t, "head -c 100M /dev/zero > /dev/shm/x", func(s *container.Spec) { s.Mem = 512_000 })
	fails(t, "head -c 100M /dev/zero > /dev/x", nil)
}

func TestASetuidProgramGivesNothingWhereNoNewPrivilegesAreWanted(t *testing.T) {
	c, n := started(t)
	s := c.spec("sh", "-c", "/mnt/mesos/sandbox/id -u")
	rooted(t, &s)
	b, err := os.ReadFile("/usr/bin/id")
	if err != nil {
		t.Skip("SKIP-HOST: there is no program of its own to give a set-user-id bit to: ", err)
	}
	path := filepath.Join(s.Sandbox, "id")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(path, 0o4755); err != nil {
		t.Fatal(err)
	}
	for _, nnp := range []bool{false, true} {
		s.ID, s.User, s.NoNewPrivs, s.Root.Scratch = s.ID+"x", "nobody", nnp, t.TempDir()
		if err := os.Chmod(filepath.Dir(s.Sandbox), 0o755); err != nil {
			t.Fatal(err)
		}
		launch(t, n, s)
		await(t, n)
		if got, root := strings.TrimSpace(read(t, s.Sandbox, "stdout")), "0"; (got == root) == nnp {
			t.Errorf("with no_new_privs %t its id is %q: %s", nnp, got, read(t, s.Sandbox, "stderr"))
		}
		if err := os.Remove(filepath.Join(s.Sandbox, "stdout")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAVolumeIsMountedNowhereButWhereItsPathsSay(t *testing.T) {
	secret := t.TempDir()
	if err := os.WriteFile(filepath.Join(secret, "secret"), []byte("the machine's"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		mount   container.Mount
		prepare func(sandbox, layer string) error
	}{
		"over a file of the kernel's": {container.Mount{Target: "/proc/sys/kernel", Source: secret}, nil},
		"over /sys":                   {container.Mount{Target: "/sys/kernel", Source: secret}, nil},
		"by a link of the image's into /proc": {
			container.Mount{Target: "/way/kernel", Source: secret},
			func(_, layer string) error { return os.Symlink("/proc/sys", filepath.Join(layer, "way")) },
		},
		"of a link that a user put in his sandbox": {
			container.Mount{Target: "/mnt/it", Source: "link", Under: "SANDBOX"},
			func(sandbox, _ string) error { return os.Symlink(secret, filepath.Join(sandbox, "link")) },
		},
		"of a place behind such a link": {
			container.Mount{Target: "/mnt/it", Source: "link/secret", Under: "SANDBOX"},
			func(sandbox, _ string) error { return os.Symlink(secret, filepath.Join(sandbox, "link")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			box, n := started(t)
			s := box.spec("sh", "-c", "grep -r machine /mnt/it /proc/sys/kernel/secret /way/secret /sys/kernel/secret 2>/dev/null")
			caged(t, &s)
			if c.prepare != nil {
				if err := c.prepare(s.Sandbox, filepath.Join(s.Root.Store, "base")); err != nil {
					t.Fatal(err)
				}
			}
			m := c.mount
			m.Kind = container.MountBind
			if m.Under != "" {
				m.Under = s.Sandbox
			}
			s.Root.Mounts = append(s.Root.Mounts, m)
			_, err := n.Launch(t.Context(), s)
			if container.KindOf(err) != container.KindRoot {
				t.Errorf("%v", err)
			}
			if err == nil {
				await(t, n)
			}
		})
	}
}
