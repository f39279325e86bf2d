package cgroup

import (
	"slices"
	"strconv"
	"strings"
)

// PlanHolder plans a container that has no process itself, only containers below it: on v2 the controllers are handed down to
// them, which the kernel forbids where a process is.
func (p *Parent) PlanHolder(name string, l Limits) Plan {
	plan := p.Plan(name, l)
	var hand []string
	for _, w := range wanted {
		if c, ok := p.places[w.name]; ok && c.v2 && w.v2 != "" {
			hand = append(hand, "+"+w.v2)
		}
	}
	for i := range plan.Groups {
		g := &plan.Groups[i]
		switch {
		case p.unified != "" && g.Dir == p.unified+"/"+name && len(hand) > 0:
			g.Writes = append(g.Writes, Write{File: "cgroup.subtree_control", Value: strings.Join(hand, " ")})
		case p.is("memory", g.Dir, name): // else the holder's limit would not count what is below it
			g.Writes = slices.Insert(g.Writes, 0, Write{"memory.use_hierarchy", "1", true})
		}
	}
	return plan
}

// PlanShared plans a container that is held to the limits of one above it, whose name is limited: a group of one hierarchy
// only, at name, holds its processes together so that they can be found and killed; in all other hierarchies they are in the
// other's groups. pids bounds its processes; 0: it does not.
func (p *Parent) PlanShared(name, limited string, pids int64) Plan {
	up := p.Plan(limited, Limits{})
	plan := Plan{OOMFile: up.OOMFile}
	own := p.tracker()
	for _, dir := range up.Dirs() {
		if dir != own+"/"+limited {
			plan.Join = append(plan.Join, dir)
			continue
		}
		g := Group{Dir: own + "/" + name}
		if c, ok := p.places["pids"]; ok && c.dir == own && pids > 0 {
			g.Writes = append(g.Writes, Write{"pids.max", strconv.FormatInt(pids, 10), c.v2}) // v2 may not hand it down
		}
		plan.Groups = append(plan.Groups, g)
	}
	return plan
}

// SharesBelow says whether a container below one that has processes must share the other's limits.
func (p *Parent) SharesBelow() bool { return p.unified != "" }

// tracker is the hierarchy that costs least to have a group in.
func (p *Parent) tracker() string {
	if p.unified != "" {
		return p.unified
	}
	for _, name := range []string{"pids", "cpuacct", "memory", "cpu"} {
		if c, ok := p.places[name]; ok {
			return c.dir
		}
	}
	return ""
}

// is says whether a directory is where a controller of v1 has its group of that name.
func (p *Parent) is(controller, dir, name string) bool {
	c, ok := p.places[controller]
	return ok && !c.v2 && dir == c.dir+"/"+name
}
