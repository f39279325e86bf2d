package cgroup

import (
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Detect finds the cgroup mounts of this process.
func Detect() (*System, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	s := parse(string(b), func(dir string) []string {
		c, err := os.ReadFile(dir + "/cgroup.controllers")
		if err != nil {
			return nil
		}
		return strings.Fields(string(c))
	})
	return &s, nil
}

// Prepare makes our directory (a relative path such as "pando/3f2a") in every hierarchy, and on v2 hands the controllers
// down to it. A hierarchy that refuses is left out and named in Lacks; no error means only that the rest works. more are those of More()
// that containers are to be in too.
func (s *System) Prepare(name string, more ...string) *Parent {
	p := &Parent{name: name, places: map[string]place{}, Lacks: slices.Clone(s.Lacks)}
	made := map[string]error{}
	for _, w := range wanted {
		c, ok := s.places[w.name]
		if w.more && !slices.Contains(more, w.name) {
			continue
		}
		if !ok && w.more {
			p.Lacks = append(p.Lacks, missing(w.name, w.loss))
		}
		if !ok {
			continue
		}
		dir := c.dir + "/" + name
		err, done := made[dir]
		if !done {
			if err = os.MkdirAll(dir, 0o755); errors.Is(err, os.ErrNotExist) { // another agent's Remove came between
				err = os.MkdirAll(dir, 0o755)
			}
			made[dir] = err
		}
		switch {
		case err != nil:
		case c.v2 && w.v2 != "":
			err = delegate(c.dir, name, w.v2)
		case w.name == "cpuset" && !c.v2:
			err = inherit(c.dir, name)
		}
		if err != nil {
			p.Lacks = append(p.Lacks, Lack{w.loss, err.Error(), "run the agent as root; in a container, give it a writable cgroup file system whose root holds no process (move them into a child first)"})
			continue
		}
		p.places[w.name] = place{dir, c.v2}
		if c.v2 {
			p.unified = dir
		}
	}
	return p
}

// inherit has every directory from below the mount point of v1's cpuset down to dir/name, and what is made below that, begin with the
// cpus and memory of the one above: without any, no process may join.
func inherit(dir, name string) error {
	for part := range strings.SplitSeq(name, "/") {
		above := dir
		dir += "/" + part
		for _, file := range []string{"/cpuset.cpus", "/cpuset.mems"} {
			if strings.TrimSpace(text(dir+file)) != "" {
				continue // as an operator may have said
			}
			if err := write(dir+file, strings.TrimSpace(text(above+file))); err != nil {
				return err
			}
		}
		if err := write(dir+"/cgroup.clone_children", "1"); err != nil {
			return err
		}
	}
	return nil
}

// Within leaves out of the plan of a container that is below another the groups of more controllers that the other is not in: an agent
// without them may have started it.
func (p *Parent) Within(plan Plan) Plan {
	for _, w := range wanted {
		c, ok := p.places[w.name]
		if !ok || !w.more || c.v2 {
			continue
		}
		lacks := func(of, dir string) bool {
			_, err := os.Stat(dir)
			return err != nil && strings.HasPrefix(of, c.dir+"/")
		}
		plan.Groups = slices.DeleteFunc(plan.Groups, func(g Group) bool { return lacks(g.Dir, path.Dir(g.Dir)) })
		plan.Join = slices.DeleteFunc(plan.Join, func(d string) bool { return lacks(d, d) })
	}
	return plan
}

// delegate enables a controller of v2 for the children of every directory from the mount point down to dir/name.
func delegate(dir, name, controller string) error {
	at := dir
	for _, part := range append([]string{""}, strings.Split(name, "/")...) {
		at = path.Join(at, part)
		if have, err := os.ReadFile(at + "/cgroup.subtree_control"); err == nil && slices.Contains(strings.Fields(string(have)), controller) {
			continue
		}
		if err := write(at+"/cgroup.subtree_control", "+"+controller); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes the parent's own directories, which must be empty of containers, and those above that nobody else uses.
func (p *Parent) Remove() error {
	var errs []error
	for _, d := range p.Dirs() {
		if err := unix.Rmdir(d); err != nil && err != unix.ENOENT {
			errs = append(errs, pathError("remove", d, err))
			continue
		}
		for up := path.Dir(p.name); up != "."; up = path.Dir(up) {
			_ = unix.Rmdir(strings.TrimSuffix(d, p.name) + up) // refused while somebody uses it
		}
	}
	return errors.Join(errs...)
}

// Names lists the containers that have a group below the parent.
func (p *Parent) Names() []string {
	seen := map[string]bool{}
	var names []string
	for _, d := range p.Dirs() {
		entries, _ := os.ReadDir(d)
		for _, e := range entries {
			if e.IsDir() && !seen[e.Name()] {
				seen[e.Name()] = true
				names = append(names, e.Name())
			}
		}
	}
	return names
}

// Create makes the groups and writes the limits; on failure nothing is left.
func (p Plan) Create() error {
	made := 0
	var err error
	for _, g := range p.Groups {
		if e := unix.Mkdir(g.Dir, 0o755); e != nil { // an existing one is somebody else's
			err = pathError("make cgroup", g.Dir, e)
			break
		}
		made++
		if err = g.write(); err != nil {
			break
		}
	}
	if err != nil {
		for _, g := range p.Groups[:made] {
			_ = unix.Rmdir(g.Dir) // the first error is the one to tell
		}
	}
	return err
}

// limits are the files whose value must never be lowered while something runs. Where there are two, the second is raised
// first: the kernel keeps it no lower than the other.
var limits = []string{"memory.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}

// Change writes the plan into groups that exist. Limits of memory are raised and not lowered.
func (p Plan) Change() error {
	for _, g := range p.Groups {
		for _, w := range slices.Backward(g.Writes) {
			if slices.Contains(limits, w.File) && !raises(g.Dir+"/"+w.File, w.Value) {
				continue
			}
			if err := write(g.Dir+"/"+w.File, w.Value); err != nil && !w.Optional {
				return err
			}
		}
	}
	return nil
}

// raises says whether a value is more than what a file says, which has a word for no limit.
func raises(file, value string) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return true // the write tells what is wrong
	}
	is, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	to, _ := strconv.ParseUint(value, 10, 64)
	return err == nil && to > is
}

func (g Group) write() error {
	for _, w := range g.Writes {
		if err := write(g.Dir+"/"+w.File, w.Value); err != nil && !w.Optional {
			return err
		}
	}
	return nil
}

// Doors are groups that can be joined from where their directories are not to be seen.
type Doors []*os.File

// Open opens the doors of groups.
func Open(dirs []string) (Doors, error) {
	var all Doors
	for _, d := range dirs {
		f, err := os.OpenFile(d+"/cgroup.procs", os.O_WRONLY, 0)
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all = append(all, f)
	}
	return all, nil
}

// Join puts the calling process into the groups, and closes their doors.
func (all Doors) Join() error {
	for _, f := range all {
		if _, err := f.WriteString("0"); err != nil {
			return errors.Join(err, all.close())
		}
	}
	return all.close()
}

func (all Doors) close() error {
	var errs []error
	for _, f := range all {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Procs lists the processes in a group; none when it does not exist.
func Procs(dir string) []int {
	b, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.SplitSeq(string(b), "\n") {
		if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Kill sends SIGKILL to every process in the groups once. A group that forks meanwhile needs another call, though where
// the pids controller is present it is forbidden to fork first.
func Kill(dirs []string) {
	for _, d := range dirs {
		_ = write(d+"/pids.max", "0") // only one hierarchy has it; a refusal costs nothing
	}
	for _, d := range dirs {
		if write(d+"/cgroup.kill", "1") == nil {
			continue
		}
		for _, pid := range Procs(d) {
			_ = unix.Kill(pid, unix.SIGKILL) // it may be gone
		}
	}
}

// Remove deletes the groups and says whether none is left; false means that processes are still in one.
func Remove(dirs []string) bool {
	gone := true
	for _, d := range dirs {
		if err := unix.Rmdir(d); err != nil && err != unix.ENOENT {
			gone = false
		}
	}
	return gone
}

// tree lists the groups with all that are below them, the lowest first.
func tree(dirs []string) []string {
	var all []string
	for _, d := range dirs {
		entries, _ := os.ReadDir(d) // one that is gone has none
		for _, e := range entries {
			if e.IsDir() {
				all = append(all, tree([]string{d + "/" + e.Name()})...)
			}
		}
		all = append(all, d)
	}
	return all
}

// Destroy kills what is in the groups and below them, and removes them, trying for as long as it may take.
func Destroy(dirs []string, atMost time.Duration) error {
	wait := time.Millisecond
	for end := time.Now().Add(atMost); !Remove(tree(dirs)); {
		Kill(tree(dirs))
		if time.Now().After(end) {
			return errors.New("cgroup " + strings.Join(dirs, ", ") + " still has processes after SIGKILL; one may hang in the kernel (state D)")
		}
		time.Sleep(wait)
		wait = min(2*wait, 50*time.Millisecond)
	}
	return nil
}

// OOMKills reads how many processes of a group the kernel has killed for the memory limit.
func OOMKills(file string) uint64 {
	if file == "" {
		return 0
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	return field(string(b), "oom_kill")
}

// NotifyOOM gives an eventfd that becomes readable when the kernel runs out of memory for the group of v1 that the file is
// of (Plan.OOMFile), and when the group is removed; -1 when there is no such thing, as on v2.
func NotifyOOM(file string) int {
	dir, ok := strings.CutSuffix(file, "/memory.oom_control")
	if !ok {
		return -1
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1
	}
	control, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = write(dir+"/cgroup.event_control", strconv.Itoa(fd)+" "+strconv.Itoa(control))
		unix.Close(control)
	}
	if err != nil {
		unix.Close(fd)
		return -1
	}
	return fd
}

// field finds the number behind a name in a file of "name number" lines.
func field(s, name string) uint64 {
	for line := range strings.SplitSeq(s, "\n") {
		if k, v, ok := strings.Cut(line, " "); ok && k == name {
			n, _ := strconv.ParseUint(v, 10, 64)
			return n
		}
	}
	return 0
}

// write opens without creating: a missing controller file must fail, not appear.
func write(file, value string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open", file, err)
	}
	for {
		// The runtime's own signals interrupt a write that has to reclaim memory first.
		if _, err = unix.Write(fd, []byte(value)); err != unix.EINTR {
			break
		}
	}
	unix.Close(fd)
	if err != nil {
		return pathError("write "+value+" to", file, err)
	}
	return nil
}

func pathError(op, file string, err error) error { return &os.PathError{Op: op, Path: file, Err: err} }
