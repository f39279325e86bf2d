package cgroup

import "strings"

// wanted lists the controllers a container is put into, by their names of v1 and v2, and what is lost without each. In those of which
// there may be more it is only where Prepare is told so: one more group takes some seven percent of the cpu time that starting and ending a container does.
var wanted = []struct {
	name, v2, loss string
	more           bool
}{
	{"cpu", "cpu", "shares and limits of cpus", false},
	{"cpuacct", "", "statistics of cpu time", false}, // v2 counts cpu time by itself
	{"memory", "memory", "memory limits and statistics", false},
	{"pids", "pids", "limits of the number of processes", false},
	{"blkio", "io", "statistics of what is read and written", true},
	{"cpuset", "cpuset", "cpus of a container's own", true},
}

// More are the controllers that Prepare may be told of.
func More() []string {
	var out []string
	for _, w := range wanted {
		if w.more {
			out = append(out, w.name)
		}
	}
	return out
}

// place is where a controller's groups are: the mount point, or below Prepare the parent directory.
type place struct {
	dir string
	v2  bool
}

// System is how this machine's cgroups are mounted.
type System struct {
	places map[string]place // by controller
	Lacks  []Lack
}

// Lack is something that cannot be enforced here.
type Lack struct {
	What string // the resource: "memory limits"
	Why  string
	How  string // what the operator can do
}

// parse reads /proc/self/mountinfo; available gives the words of cgroup.controllers below a mount point of v2.
func parse(mountinfo string, available func(dir string) []string) System {
	s := System{places: map[string]place{}}
	for line := range strings.SplitSeq(mountinfo, "\n") {
		left, right, ok := strings.Cut(line, " - ")
		if !ok {
			continue
		}
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 {
			continue
		}
		dir := unescape(l[4])
		switch r[0] {
		case "cgroup":
			for opt := range strings.SplitSeq(r[2], ",") {
				for _, w := range wanted {
					if _, have := s.places[w.name]; opt == w.name && !have {
						s.places[w.name] = place{dir: dir}
					}
				}
			}
		case "cgroup2":
			for _, c := range available(dir) {
				for _, w := range wanted {
					if _, have := s.places[w.name]; (c == w.v2 || c == "cpu" && w.v2 == "") && !have {
						s.places[w.name] = place{dir, true}
					}
				}
			}
		}
	}
	for _, w := range wanted {
		if _, ok := s.places[w.name]; !ok && !w.more {
			s.Lacks = append(s.Lacks, missing(w.name, w.loss))
		}
	}
	return s
}

// missing is a controller that is not there.
func missing(name, loss string) Lack {
	return Lack{loss, "the kernel offers no cgroup controller " + name, "mount cgroup v2 at /sys/fs/cgroup, or boot with cgroup_enable=" + name}
}

// unescape undoes the octal escapes of mountinfo (a space is \040).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Parent is the directory of ours below which every container has its own, in each hierarchy.
type Parent struct {
	name    string // relative to the mount points
	places  map[string]place
	unified string
	// Lacks is what is not enforced, with the reason and the way to get it.
	Lacks []Lack
}

// Dirs lists the parent's directories, one per hierarchy.
func (p *Parent) Dirs() []string {
	var d []string
	seen := map[string]bool{}
	for _, w := range wanted {
		if c, ok := p.places[w.name]; ok && !seen[c.dir] {
			seen[c.dir] = true
			d = append(d, c.dir)
		}
	}
	return d
}

// Group lists the directories that the container of that name has, whether they exist or not.
func (p *Parent) Group(name string) []string { return p.Plan(name, Limits{}).Dirs() }
