package network

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// own is the network namespace of the calling thread. /proc/self would be that of the process's first thread.
const own = "/proc/thread-self/ns/net"

// Make makes a network namespace with its loopback up and binds it at a path, which keeps it until Remove. The directory is the
// caller's, on a tmpfs so that a restart of the machine leaves no stale files; the path must not exist.
func Make(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	err = onThread(func() (bool, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return false, fmt.Errorf("make a network namespace: %w", err)
		}
		if err := loopbackUp(); err != nil {
			return false, fmt.Errorf("bring up loopback: %w", err)
		}
		if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
			return false, fmt.Errorf("bind a network namespace at %s: %w", path, err)
		}
		return false, nil
	})
	if err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Remove takes a namespace's name away, and with it the namespace once no process is in it. A path that is not there is no error, nor
// is one that a crash left without its mount.
func Remove(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Do runs f in the namespace at a path, on a thread of its own that nothing else runs on meanwhile. What f starts on other goroutines
// is not in the namespace; sockets that it opens stay there.
func Do(path string, f func() error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	return onThread(func() (bool, error) {
		back, err := unix.Open(own, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return true, err
		}
		defer unix.Close(back)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return true, fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		err = f()
		return unix.Setns(back, unix.CLONE_NEWNET) == nil, err
	})
}

// onThread runs f on a thread of its own and throws the thread away unless f says that it is clean. The process's first thread is
// never used: it cannot be thrown away, and /proc shows its namespaces as the process's own.
func onThread(f func() (clean bool, err error)) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // held meanwhile, so that the next goroutine gets another
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		clean, err := false, errors.New("it ended without an answer") // f may leave by runtime.Goexit
		defer func() {
			if clean {
				runtime.UnlockOSThread()
			}
			done <- err
		}()
		clean, err = f()
	}()
	return <-done
}

// loopbackUp brings up the loopback of the calling thread's namespace.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}
