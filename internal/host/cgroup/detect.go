package cgroup

import "strings"

// wanted lists the controllers a container is put into, and what is lost without each.
var wanted = []struct{ name, loss string }{
	{"cpu", "shares and limits of cpus"},
	{"cpuacct", "statistics of cpu time"},
	{"memory", "memory limits and statistics"},
	{"pids", "limits of the number of processes"},
}

// place is where a controller's groups are: the mount point, or below Prepare the parent directory.
type place struct {
	dir string
	v2  bool
}

// System is how this machine's cgroups are mounted.
type System struct {
	places  map[string]place // by controller
	unified string           // mount point of v2 when any controller is used from there
	Lacks   []Lack
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
				names := []string{c}
				if c == "cpu" { // v2 counts cpu time by itself
					names = append(names, "cpuacct")
				}
				for _, n := range names {
					for _, w := range wanted {
						if _, have := s.places[w.name]; n == w.name && !have {
							s.places[w.name] = place{dir, true}
							s.unified = dir
						}
					}
				}
			}
		}
	}
	for _, w := range wanted {
		if _, ok := s.places[w.name]; !ok {
			s.lack(w.loss, "the kernel offers no cgroup controller "+w.name, "mount cgroup v2 at /sys/fs/cgroup, or boot with cgroup_enable="+w.name)
		}
	}
	return s
}

func (s *System) lack(what, why, how string) { s.Lacks = append(s.Lacks, Lack{what, why, how}) }

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
