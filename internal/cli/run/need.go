package run

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
)

// Need is what one instance takes of a node, in thousandths, so that sums are exact.
type Need struct {
	CPUs int64 // thousandths of a processor
	Mem  int64 // thousandths of a MB
	Disk int64 // thousandths of a MB
	// Ports are those of the node, by number; 0 is any.
	Ports []uint32
}

// NewNeed makes one of CPUs and MB.
func NewNeed(cpus, mem float64) Need { return Need{CPUs: thousandths(cpus), Mem: thousandths(mem)} }

// WithDisk adds MB of disk.
func (n Need) WithDisk(disk float64) Need {
	n.Disk += thousandths(disk)
	return n
}

func (n Need) plus(m Need) Need {
	return Need{n.CPUs + m.CPUs, n.Mem + m.Mem, n.Disk + m.Disk, slices.Concat(n.Ports, m.Ports)}
}

func thousandths(f float64) int64 { return int64(math.Round(f * 1000)) }

// amounts are the parts by resource name, in the order in which people name them.
func (n Need) amounts() []amount { return []amount{{"cpus", n.CPUs}, {"mem", n.Mem}, {"disk", n.Disk}} }

type amount struct {
	name string
	want int64
}

func (a amount) String() string { return show(a.name, a.want) }

// show writes "3.5 cpus" or "64 MB".
func show(name string, thousandths int64) string {
	unit := map[string]string{"mem": "MB", "disk": "MB of disk"}[name]
	if unit == "" {
		unit = name
	}
	text := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.3f", float64(thousandths)/1000), "0"), ".")
	return text + " " + unit
}

// String is the whole need, "0.5 cpus and 64 MB".
func (n Need) String() string {
	var parts []string
	for _, a := range n.amounts() {
		if a.want > 0 {
			parts = append(parts, a.String())
		}
	}
	for _, p := range n.Ports {
		if p == 0 {
			parts = append(parts, "a port")
		} else {
			parts = append(parts, fmt.Sprintf("port %d", p))
		}
	}
	if n := len(parts) - 1; n > 1 {
		return strings.Join(parts[:n], ", ") + " and " + parts[n]
	}
	return strings.Join(parts, " and ")
}

// take cuts the need out of the resources of an offer and returns the part and what is left; ok is false, and nothing is cut,
// when they do not hold it. The part keeps the reservations and the role that the offer's resources have. Resources that
// the cluster may take back are not used.
func (n Need) take(offered []*mesosv1.Resource) (part, rest []*mesosv1.Resource, ok bool) {
	rest = slices.Clone(offered)
	for _, a := range n.amounts() {
		want := a.want
		for i, r := range rest {
			if want == 0 {
				break
			}
			if r.GetName() != a.name || r.GetType() != mesosv1.Value_SCALAR || r.Revocable != nil {
				continue
			}
			have := thousandths(r.GetScalar().GetValue())
			cut := min(have, want)
			if cut <= 0 {
				continue
			}
			part = append(part, withScalar(r, cut))
			rest[i] = withScalar(r, have-cut)
			want -= cut
		}
		if want > 0 {
			return nil, offered, false
		}
	}
	// Those by number come first: any other will do for the rest.
	ports := make([]*mesosv1.Resource, len(n.Ports))
	for _, open := range []bool{false, true} {
		for i, p := range n.Ports {
			if (p == 0) != open {
				continue
			}
			if ports[i], ok = takePort(rest, p); !ok {
				return nil, offered, false
			}
		}
	}
	return append(part, ports...), rest, true
}

// takePort cuts one port out of resources, which are replaced and not changed.
func takePort(rest []*mesosv1.Resource, port uint32) (*mesosv1.Resource, bool) {
	for i, r := range rest {
		if r.GetName() != "ports" || r.GetType() != mesosv1.Value_RANGES || r.Revocable != nil {
			continue
		}
		for j, span := range r.GetRanges().GetRange() {
			p := uint64(port)
			if p == 0 {
				p = span.GetBegin()
			}
			if p < span.GetBegin() || p > span.GetEnd() {
				continue
			}
			var left []*mesosv1.Value_Range
			if p > span.GetBegin() {
				left = append(left, &mesosv1.Value_Range{Begin: span.Begin, End: new(p - 1)})
			}
			if p < span.GetEnd() {
				left = append(left, &mesosv1.Value_Range{Begin: new(p + 1), End: span.End})
			}
			all := r.GetRanges().GetRange()
			rest[i] = withRanges(r, slices.Concat(all[:j], left, all[j+1:]))
			return withRanges(r, []*mesosv1.Value_Range{{Begin: &p, End: &p}}), true
		}
	}
	return nil, false
}

func withRanges(r *mesosv1.Resource, spans []*mesosv1.Value_Range) *mesosv1.Resource {
	out := proto.CloneOf(r)
	out.Ranges = &mesosv1.Value_Ranges{Range: spans}
	return out
}

// portsOf are the ports among what take took, in the order of Ports.
func portsOf(part []*mesosv1.Resource) []uint32 {
	var all []uint32
	for _, r := range part {
		if r.GetName() == "ports" {
			all = append(all, uint32(r.GetRanges().GetRange()[0].GetBegin()))
		}
	}
	return all
}

func withScalar(r *mesosv1.Resource, thousandths int64) *mesosv1.Resource {
	out := proto.Clone(r).(*mesosv1.Resource)
	out.Scalar = &mesosv1.Value_Scalar{Value: new(float64(thousandths) / 1000)}
	return out
}

// Explain says why no node takes the need: the one thing that is short, where there is one, with the node that has most of
// it. It is a sentence without a subject, such as "largest free: 3.5 cpus on node-1".
func (n Need) Explain(agents []client.AgentInfo) string {
	active := slices.DeleteFunc(slices.Clone(agents), func(a client.AgentInfo) bool { return !a.Active })
	switch {
	case len(agents) == 0:
		return "no node has joined the cluster"
	case len(active) == 0:
		return fmt.Sprintf("none of the %d nodes is active", len(agents))
	}
	total := func(a client.AgentInfo, name string) float64 { return a.Resources.Scalar(name) }
	free := func(a client.AgentInfo, name string) float64 { return a.Free(name) }
	if !n.fitsOne(active, total) {
		return "no node is that large: largest: " + n.shortest(active, total)
	}
	if !n.fitsOne(active, free) {
		return "largest free: " + n.shortest(active, free)
	}
	if len(n.Ports) > 0 {
		return "there is room, but its ports are taken or none of a node's (--resources), or it is offered to somebody else or reserved for another role"
	}
	return "there is room, but it is offered to somebody else or reserved for another role"
}

type measure func(a client.AgentInfo, name string) float64

func (n Need) fitsOne(agents []client.AgentInfo, m measure) bool {
	return slices.ContainsFunc(agents, func(a client.AgentInfo) bool {
		return !slices.ContainsFunc(n.amounts(), func(part amount) bool { return thousandths(m(a, part.name)) < part.want })
	})
}

// shortest names the largest amount of each resource that no node has enough of; when each is there but on different nodes,
// the largest of each.
func (n Need) shortest(agents []client.AgentInfo, m measure) string {
	var short, all []string
	for _, part := range n.amounts() {
		if part.want == 0 {
			continue
		}
		best := slices.MaxFunc(agents, func(a, b client.AgentInfo) int {
			return int(thousandths(m(a, part.name)) - thousandths(m(b, part.name)))
		})
		have := thousandths(m(best, part.name))
		words := show(part.name, have) + " on " + best.Hostname
		all = append(all, words)
		if have < part.want {
			short = append(short, words)
		}
	}
	if len(short) == 0 {
		return strings.Join(all, ", ")
	}
	return strings.Join(short, ", ")
}
