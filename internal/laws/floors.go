package laws

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Plan says which room is on which floor and which rooms of one floor may meet.
type Plan struct {
	floors map[string]int     // room → floor
	doors  map[[2]string]bool // importer's room → imported room
}

// ReadPlan reads the text of floors.txt.
func ReadPlan(text string) (*Plan, error) {
	p := &Plan{floors: map[string]int{}, doors: map[[2]string]bool{}}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case len(fields) == 2:
			floor, err := strconv.Atoi(fields[0])
			if _, twice := p.floors[fields[1]]; err != nil || twice {
				return nil, fmt.Errorf("line %d: want a floor and a room not named before, have %q", i+1, line)
			}
			p.floors[fields[1]] = floor
		case len(fields) == 3 && fields[1] == "->":
			p.doors[[2]string{fields[0], fields[2]}] = true
		default:
			return nil, fmt.Errorf("line %d: want \"FLOOR PATH\" or \"PATH -> PATH\", have %q", i+1, line)
		}
	}
	return p, p.check()
}

// check sees that doors join known rooms of one floor and lead around no circle.
func (p *Plan) check() error {
	for d := range p.doors {
		from, ok1 := p.floors[d[0]]
		to, ok2 := p.floors[d[1]]
		if !ok1 || !ok2 || from != to {
			return fmt.Errorf("%s -> %s: both must be rooms, and of the same floor", d[0], d[1])
		}
	}
	for room := range p.floors {
		if p.reaches(room, room, map[string]bool{}) {
			return fmt.Errorf("the doors lead from %s around to itself", room)
		}
	}
	return nil
}

func (p *Plan) reaches(from, to string, seen map[string]bool) bool {
	for d := range p.doors {
		if d[0] != from || seen[d[1]] {
			continue
		}
		seen[d[1]] = true
		if d[1] == to || p.reaches(d[1], to, seen) {
			return true
		}
	}
	return false
}

// room is the longest line of the plan that the package is under; empty when there is none.
func (p *Plan) room(pkg string) string {
	best := ""
	for r := range p.floors {
		if under(pkg, r) && len(r) > len(best) {
			best = r
		}
	}
	return best
}

// Floors finds imports that the plan does not allow.
func Floors(p *Plan, files []*File) []string {
	var out []string
	homeless := map[string]bool{}
	for _, f := range files {
		if f.Test() {
			continue
		}
		from := p.room(f.Dir())
		if from == "" {
			homeless[f.Dir()] = true
			continue
		}
		for imported, pos := range f.imports() {
			to := p.room(imported)
			switch {
			case to == "" || to == from || p.floors[to] < p.floors[from]:
			case p.floors[to] > p.floors[from]:
				out = append(out, f.at(pos, "%s (floor %d) imports %s (floor %d), which is above it",
					f.Dir(), p.floors[from], imported, p.floors[to]))
			case !p.doors[[2]string{from, to}]:
				out = append(out, f.at(pos, "%s imports %s of its own floor %d: floors.txt has no line \"%s -> %s\"",
					f.Dir(), imported, p.floors[from], from, to))
			}
		}
	}
	for dir := range homeless {
		out = append(out, dir+": no floor: give it a line in internal/laws/floors.txt")
	}
	sort.Strings(out)
	return out
}
