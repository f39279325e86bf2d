package network_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/internal/network/networktest"
)

func TestMain(m *testing.M) { networktest.Main(m) }

// netns is the identity of the calling thread's namespace.
func netns(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Error(err)
	}
	return link
}

func TestANamespaceIsApartHasLoopbackAndGoesWithItsName(t *testing.T) {
	networktest.Machine(t)
	path := filepath.Join(networktest.Memory(t), "box")
	if err := network.Make(path); err != nil {
		t.Fatal(err)
	}
	if err := network.Make(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	outside, visited := netns(t), ""
	err := network.Do(path, func() error {
		visited = netns(t)
		l, err := net.Listen("tcp", "127.0.0.1:0") // needs loopback
		if err != nil {
			return err
		}
		defer l.Close()
		c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil || visited == outside || netns(t) != outside {
		t.Errorf("went from %s to %s and was left in %s: %v", outside, visited, netns(t), err)
	}
	for range 2 { // the second finds nothing to do
		if err := network.Remove(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), path) {
		t.Errorf("a mount is left: %v", err)
	}
}

func TestWhatACrashLeftOfANamespaceIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box")
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("unmounting needs root")
	}
	if err := network.Remove(path); err != nil {
		t.Error(err)
	}
}

func TestManyNamespacesAtOnceNeverLeaveAThreadInTheWrongOne(t *testing.T) {
	networktest.Machine(t)
	dir := networktest.Memory(t)
	var own string // of the process, not of this test's thread
	if link, err := os.Readlink("/proc/self/ns/net"); err == nil {
		own = link
	}
	var all sync.WaitGroup
	for name := range strings.SplitSeq("abcdefghijklmnopqrst", "") {
		all.Go(func() {
			path := filepath.Join(dir, name)
			if err := network.Make(path); err != nil {
				t.Error(err)
				return
			}
			var st, in unix.Stat_t
			err := network.Do(path, func() error { return unix.Stat("/proc/thread-self/ns/net", &in) })
			if err := errors.Join(err, unix.Stat(path, &st)); err != nil || st.Ino != in.Ino {
				t.Errorf("%s is %d, in it is %d: %v", name, st.Ino, in.Ino, err)
			}
			if got := netns(t); got != own {
				t.Errorf("a thread was left in %s; the process is in %s", got, own)
			}
			if err := network.Remove(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
	mine := netns(t)
	for _, task := range tasks {
		if link, err := os.Readlink(task); err == nil && link != own && link != mine {
			t.Errorf("%s is in %s", task, link)
		}
	}
}

func TestAFunctionThatLeavesItsGoroutineIsAnError(t *testing.T) {
	networktest.Machine(t)
	path := filepath.Join(networktest.Memory(t), "box")
	if err := network.Make(path); err != nil {
		t.Fatal(err)
	}
	defer network.Remove(path)
	if err := network.Do(path, func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("no error")
	}
}
