package shim

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// askToEnd sends the signal that asks a container to end. The first process of a pid namespace is spared every signal that it has
// no handler for, so that `sleep` as such a process would sit out the whole grace: what the signal would have done to it elsewhere
// is done by force, and told as the signal's doing.
func (b *box) askToEnd() {
	sig := unix.SIGTERM
	if b.spec.StopSignal != 0 {
		sig = unix.Signal(b.spec.StopSignal)
	}
	if b.spec.Namespaces&unix.CLONE_NEWPID != 0 && endsUnhandled(sig) && !handles(b.state.PID, sig) {
		b.feigned = sig
		_ = unix.Kill(int(b.state.PID), unix.SIGKILL) // it takes all others of its namespace along
		return
	}
	b.signal(sig)
}

// status is how the container's process ended, as it is told.
func (b *box) status(ws syscall.WaitStatus) uint32 {
	if b.feigned != 0 && ws.Signaled() && ws.Signal() == unix.SIGKILL {
		return uint32(b.feigned)
	}
	return uint32(ws)
}

// endsUnhandled says whether a process that does nothing about a signal ends by it.
func endsUnhandled(sig unix.Signal) bool {
	switch sig {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return false
	}
	return true
}

// handles says whether a process catches or ignores a signal. Of one that cannot be looked at we take it that it does.
func handles(pid uint32, sig unix.Signal) bool {
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return true
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		for _, name := range [2]string{"SigCgt:", "SigIgn:"} {
			if set, ok := strings.CutPrefix(line, name); ok {
				if m, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64); err != nil || m>>(sig-1)&1 != 0 {
					return true
				}
			}
		}
	}
	return false
}
