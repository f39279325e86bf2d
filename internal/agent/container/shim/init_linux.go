package shim

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// upFD is where the first process finds its shim.
const upFD = 3

// oomScore says how soon the kernel kills a process when the machine runs out of memory; -1000 is never.
const oomScore = "/proc/self/oom_score_adj"

// failure is what stops a container before its command runs.
type failure struct {
	kind wire.Kind
	text string
}

func fail(kind wire.Kind, what string, err error) *failure {
	return &failure{kind, what + ": " + err.Error()}
}

// Init reads from the shim what to become, gives up every privilege the command is not to have, and executes it. It only
// returns when that failed, after the shim was told why.
func Init() int {
	up := os.NewFile(upFD, "shim")
	unix.CloseOnExec(upFD)
	m, err := wire.ReadFrame(up)
	if err != nil || m.Spec == nil {
		return 111
	}
	f := become(m.Spec, up)
	_ = wire.WriteFrame(up, &wire.Message{Type: wire.Refused, Kind: f.kind, Text: f.text}) // a shim that is gone needs no answer
	return 111
}

// become does the steps in the only order that works: what needs root comes before the user, limits that could starve this
// very program come after everything that allocates.
func become(s *wire.Spec, up *os.File) *failure {
	groups, err := cgroup.Open(append(s.Cgroup.Dirs(), s.Cgroup.Join...))
	if err != nil {
		return fail(wire.KindCgroup, "open cgroup", err)
	}
	if b, err := os.ReadFile(oomScore); err == nil && len(b) > 0 && b[0] == '-' { // the shim's, see Main
		_ = os.WriteFile(oomScore, []byte("0"), 0) // raising is always allowed
	}
	if f := takePlace(s); f != nil {
		return f
	}
	path, f := lookPath(s)
	if f != nil {
		return f
	}
	// Not before: what the kernel keeps of files and mounts is on the account of the group of whoever made them, which then cannot go
	// when the container ends: of three hundred containers with images a hundred and fifty groups stayed for minutes, and now thirty.
	if err := groups.Join(); err != nil {
		return fail(wire.KindCgroup, "join cgroup", err)
	}
	if s.Stdio.Terminal() { // this process leads a session of its own, see fork
		if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
			return fail(wire.KindSystem, "take the terminal", err)
		}
	}
	if s.SetUser {
		// A program that opens /dev/stdout anew needs to own the pipe behind it.
		_ = unix.Fchown(1, int(s.UID), int(s.GID)) // without it the program can still write to what it was given
		_ = unix.Fchown(2, int(s.UID), int(s.GID)) // as above
	}
	if err := wire.WriteFrame(up, &wire.Message{Type: wire.Ready}); err != nil {
		return fail(wire.KindSystem, "tell the shim", err)
	}
	for _, r := range s.Rlimits {
		// By syscall and not unix, since the runtime restores RLIMIT_NOFILE on exec unless syscall saw it set.
		if err := syscall.Setrlimit(int(r.Type), &syscall.Rlimit{Cur: r.Soft, Max: r.Hard}); err != nil {
			return fail(wire.KindRlimit, "set resource limit "+limitName(r.Type)+" to "+number(r.Soft)+" soft, "+number(r.Hard)+
				" hard (no hard limit can be above the agent's own unless it has CAP_SYS_RESOURCE)", err)
		}
	}
	if f := takeIdentity(s); f != nil {
		return f
	}
	unix.Umask(0o022)
	if err := resetSignals(); err != nil {
		return fail(wire.KindSystem, "reset signals", err)
	}
	// After the change of user, which clears it. The shim may have died before this line; then its death signal is lost.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fail(wire.KindSystem, "ask for the parent's death signal", err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: upFD, Events: unix.POLLRDHUP}}, 0); err == nil && n > 0 {
		return &failure{wire.KindSystem, "the shim died"}
	}
	closeAllOnExec()
	if s.NoNewPrivs {
		if f := install(s.Seccomp); f != nil {
			return f
		}
	}
	return fail(wire.KindExec, "execute "+path, syscall.Exec(path, s.Args, s.Env))
}

// takePlace gives the process its files and the directory that it begins in.
func takePlace(s *wire.Spec) *failure {
	if s.NetNS != "" && s.Enter == 0 {
		if f := joinNetwork(s.NetNS); f != nil {
			return f
		}
	}
	if s.IPC != 0 && s.Enter == 0 {
		if f := joinIPC(s.IPC); f != nil {
			return f
		}
	}
	switch {
	case s.Enter != 0:
		if f := enter(s.Enter); f != nil {
			return f
		}
	case s.Root != nil:
		if f := makeRoot(s.Root); f != nil {
			return f
		}
	}
	if s.Enter == 0 && s.Namespaces&unix.CLONE_NEWUTS != 0 && s.Hostname != "" {
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return fail(wire.KindRoot, "set the host name", err)
		}
	}
	if s.Workdir == "" {
		if err := enterSandbox(s); err != nil {
			return fail(wire.KindSandbox, "enter sandbox "+s.Sandbox, err)
		}
		return nil
	}
	err := unix.Chdir(s.Workdir)
	if errors.Is(err, unix.ENOENT) && s.Enter == 0 && s.Root != nil && len(s.Root.Layers) > 0 { // as with other runtimes
		if err = os.MkdirAll(s.Workdir, 0o755); err == nil {
			err = unix.Chdir(s.Workdir)
		}
	}
	if err != nil {
		return fail(wire.KindSandbox, "enter the working directory "+s.Workdir, err)
	}
	return nil
}

// closeAllOnExec keeps the command from getting descriptors that somebody left open before us.
func closeAllOnExec() {
	if unix.CloseRange(upFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, _ := os.ReadDir("/proc/self/fd") // Linux before 5.11
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= upFD {
			unix.CloseOnExec(fd)
		}
	}
}

// lookPath finds the command as execvp would, along the container's own PATH.
func lookPath(s *wire.Spec) (string, *failure) {
	if s.Path == "" {
		return "", &failure{wire.KindExec, "no command to execute: set CommandInfo.value"}
	}
	if strings.Contains(s.Path, "/") {
		return s.Path, nil
	}
	search := ""
	for _, e := range s.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	for dir := range strings.SplitSeq(search, ":") {
		if dir == "" {
			dir = "."
		}
		if !strings.HasPrefix(dir, "/") {
			dir = here(s) + "/" + dir
		}
		p := dir + "/" + s.Path
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return p, nil
		}
	}
	return "", &failure{wire.KindExec, "execute " + s.Path + ": not found along PATH=" + search}
}

// here is the directory that the command begins in.
func here(s *wire.Spec) string {
	if s.Workdir != "" {
		return s.Workdir
	}
	return s.Sandbox
}

// takeIdentity sets capabilities, no_new_privs and the user for this thread, which is the one that executes the command.
func takeIdentity(s *wire.Spec) *failure {
	bounding := s.Bounding
	if bounding == nil {
		bounding = s.Effective // whoever names what is to be effective does not want more to come back
	}
	if bounding != nil {
		for c := range uintptr(64) {
			if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil || has == 0 {
				if err != nil {
					break // past the last capability this kernel knows
				}
				continue
			}
			if *bounding&(1<<c) == 0 {
				if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
					return fail(wire.KindCaps, "drop capability "+number(uint64(c))+" from the bounding set", err)
				}
			}
		}
	}
	if !s.NoNewPrivs { // it takes what is given up next
		if f := install(s.Seccomp); f != nil {
			return f
		}
	}
	if s.Effective != nil {
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return fail(wire.KindCaps, "keep capabilities", err)
		}
	}
	if s.SetUser {
		if f := setUser(s); f != nil {
			return f
		}
	}
	if s.Effective != nil {
		if f := setCaps(*s.Effective, os.Geteuid() == 0 && *bounding == *s.Effective); f != nil {
			return f
		}
	}
	if s.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fail(wire.KindCaps, "set no_new_privs", err)
		}
	}
	return nil
}

// setUser takes on the ids, for this thread only: the runtime's all-threads calls cost a signal per thread.
func setUser(s *wire.Spec) *failure {
	var groups unsafe.Pointer
	if len(s.Groups) > 0 {
		groups = unsafe.Pointer(&s.Groups[0])
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(s.Groups)), uintptr(groups), 0); e != 0 {
		return fail(wire.KindUser, "set supplementary groups", e)
	}
	g, u := uintptr(s.GID), uintptr(s.UID)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, g, g, g); e != 0 {
		return fail(wire.KindUser, "become group "+number(uint64(g)), e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, u, u, u); e != 0 {
		return fail(wire.KindUser, "become user "+number(uint64(u)), e)
	}
	return nil
}

// setCaps makes mask what the command has after exec: as ambient capabilities, which exec keeps for any user, and for root
// with the rule switched off that would give root everything in the bounding set. Where that is the same, because it is all of that
// set, the rule does it: so root's set-user-id programs and his files' capabilities are worth to others what they are elsewhere.
func setCaps(mask uint64, byRule bool) *failure {
	if os.Geteuid() == 0 && !byRule {
		const noroot, locked = 1, 2
		if err := unix.Prctl(unix.PR_SET_SECUREBITS, noroot|locked, 0, 0, 0); err != nil {
			return fail(wire.KindCaps, "set securebits", err)
		}
	}
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	for i := range d {
		v := uint32(mask >> (32 * i))
		d[i] = unix.CapUserData{Effective: v, Permitted: v}
		if !byRule {
			d[i].Inheritable = v
		}
	}
	if err := unix.Capset(&h, &d[0]); err != nil {
		return fail(wire.KindCaps, "set capabilities (the agent may lack some of them)", err)
	}
	if byRule {
		return nil
	}
	for c := range uintptr(64) {
		if mask&(1<<c) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return fail(wire.KindCaps, "make capability "+number(uint64(c))+" ambient", err)
		}
	}
	return nil
}

// resetSignals undoes what exec would keep: ignored signals and a blocked mask. Handlers go by themselves.
func resetSignals() error {
	const ignored = 1
	type sigaction struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}
	for sig := uintptr(1); sig <= 64; sig++ {
		var now, none sigaction
		if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0); e != 0 || now.handler != ignored {
			continue
		}
		if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0); e != 0 {
			return e
		}
	}
	return unix.PthreadSigmask(unix.SIG_SETMASK, new(unix.Sigset_t), nil)
}

func number(v uint64) string { return strconv.FormatUint(v, 10) }

// limitNames are the kernel's resource limits in the order of their numbers on amd64 and arm64.
var limitNames = [...]string{
	"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
}

func limitName(n uint32) string {
	if int(n) < len(limitNames) {
		return "RLIMIT_" + limitNames[n]
	}
	return number(uint64(n))
}
