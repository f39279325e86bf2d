package container

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	shimPrefix   = "shim-"
	idleKeep     = 30 * time.Second // how long a shim beyond the spare ones may be idle
	janitorEvery = 15 * time.Second
)

// shimDirs lists the directories of shims, alive or dead.
func shimDirs(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), shimPrefix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// addShim starts a shim, unless somebody else has while we waited for our turn.
func (n *Native) addShim(alone bool) error {
	n.starting.Lock()
	defer n.starting.Unlock()
	n.mu.Lock()
	for _, l := range n.links {
		if l.usable() && l.room(alone) {
			n.mu.Unlock()
			return nil
		}
	}
	n.mu.Unlock()
	return n.startShim()
}

// addSpare starts a shim that waits for the launches to come.
func (n *Native) addSpare() {
	n.starting.Lock()
	defer n.starting.Unlock()
	n.mu.Lock()
	idle := 0
	for _, l := range n.links {
		if l.usable() && l.used == 0 {
			idle++
		}
	}
	n.mu.Unlock()
	for ; idle < n.cfg.Spare; idle++ {
		if err := n.startShim(); err != nil {
			if !errors.Is(err, errClosed) {
				n.log.Error("cannot start a spare launcher", "error", err)
			}
			return
		}
	}
}

// startShim makes directory and socket, executes the launcher with them and connects. The socket is made here, so that the
// connection need not wait for the program to start.
func (n *Native) startShim() error {
	var id [6]byte
	rand.Read(id[:])
	l := newLink(n, shimPrefix+hex.EncodeToString(id[:]))
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		return fmt.Errorf("make a launcher's directory: %w", err)
	}
	err := l.spawn()
	if err != nil {
		_ = os.RemoveAll(l.dir) // the start failed already; a leftover is tidied by the next agent
		return fmt.Errorf("start the launcher %s: %w", n.cfg.Launcher, err)
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		l.close()
		return errClosed
	}
	l.up = true
	n.links[l.name] = l
	n.tasks.Go(l.run)
	n.mu.Unlock()
	return nil
}

func (l *link) spawn() error {
	var listener *net.UnixListener
	err := throughDir(l.dir, func(path string) (err error) {
		listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	if err := os.Chmod(filepath.Join(l.dir, "sock"), 0o600); err != nil {
		return err
	}
	socket, err := listener.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	log, err := os.OpenFile(filepath.Join(l.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(l.n.cfg.Launcher, "shim") //nolint:noctx // it is meant to outlive us
	if l.n.image != nil {
		cmd.Path = sealedPath(l.n.image)
	}
	cmd.Dir = l.dir
	// Two threads at work suffice for a few containers, and the heap stays small: its state is a few kilobytes.
	cmd.Env = []string{"GOMAXPROCS=2", "GOGC=50"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	// Reaps it if we outlive it. Nobody waits for this goroutine: the shim is meant to outlive us.
	go func() {
		_ = cmd.Wait() // that it ended is told by its socket, and how by its state
		if cmd.ProcessState == nil {
			return // somebody else has reaped it
		}
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
			l.ended <- uint32(ws)
		}
	}()
	// Ours must go first: while we hold the socket too, a dead shim would look alive.
	socket.Close()
	listener.Close()
	_, err = l.dial(l.n.context())
	if err != nil {
		_ = cmd.Process.Kill() // it may be gone
	}
	return err
}

// awaitShim waits for the wait status of a shim that died, which is known if this process had started it.
func (l *link) awaitShim(atMost time.Duration) (uint32, bool) {
	select {
	case ws := <-l.ended:
		l.ended <- ws // for the next who asks
		return ws, true
	case <-time.After(atMost):
		return 0, false
	}
}

// janitor sends idle shims home, but for the spare ones.
func (n *Native) janitor() {
	tick := time.NewTicker(janitorEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.done:
			return
		case <-tick.C:
			n.trim(time.Now())
		}
	}
}
