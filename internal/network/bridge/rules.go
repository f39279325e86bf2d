package bridge

import "net/netip"

// table is that of all rules of Pando's networks, in the family inet. A bridge's chains and maps bear its name, so that each owns what
// it deletes: its maps of ports lead from a protocol and a port of the machine to an address and a port of a container.
const table = "pando"

// mapName is what a bridge calls its map of ports for a family.
func mapName(bridge string, six bool) string {
	if six {
		return bridge + "-ports6"
	}
	return bridge + "-ports4"
}

// families says for which families there are maps: six or not.
func (c *Config) families() []bool {
	if c.Subnet6.IsValid() {
		return []bool{false, true}
	}
	return []bool{false}
}

// chain is a place where the kernel looks for rules.
type chain struct {
	name     string
	nat      bool // else it filters
	hook     string
	priority int
	rules    []rule
}

// rule is what is done with a packet that all its matches fit.
type rule struct {
	matches []match
	verdict verdict
}

// match is a question about a packet.
type match struct {
	what   what
	not    bool
	link   string       // of from and to
	prefix netip.Prefix // of source and destination; its family is a match too
}

type what uint8

const (
	from        what = iota // it came in by a link
	to                      // it goes out by a link
	source                  // its sender is in a subnet
	destination             // its receiver is in a subnet
	local                   // its receiver is the machine itself
	translated              // a port mapping changed its receiver
	known                   // it belongs to a connection that was let through
	ipv4                    // it is one of IPv4
)

type verdict uint8

const (
	accept verdict = iota
	drop
	masquerade
	mapped4 // it goes to the container that the map of ports has for its protocol and port
	mapped6
)

var (
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	loopback6 = netip.MustParsePrefix("::1/128")
)

// chains are those of one bridge. Nothing can be sent from ::1 to elsewhere in Linux, so ports there are left alone, and refused at
// once where nobody listens.
func (c *Config) chains() []chain {
	// From outside and from containers, and from the machine itself.
	ports := []rule{{[]match{{what: ipv4}, {what: local}}, mapped4}}
	if c.Subnet6.IsValid() {
		ports = append(ports, rule{[]match{{what: destination, not: true, prefix: loopback6}, {what: local}}, mapped6})
	}
	enter := chain{name: c.Name + "-in", nat: true, hook: "prerouting", priority: -100, rules: ports}
	own := chain{name: c.Name + "-out", nat: true, hook: "output", priority: -100, rules: ports}
	in, out := match{what: from, link: c.Name}, match{what: to, link: c.Name}
	outward, inward := out, in
	outward.not, inward.not = true, true
	guard := chain{name: c.Name + "-guard", hook: "prerouting", priority: -300, rules: []rule{
		// The machine's loopback can be routed to this link, so that 127.0.0.1 has the mapped ports; the other way it must not be.
		{[]match{in, {what: destination, prefix: loopback4}}, drop},
	}}
	forward := chain{name: c.Name + "-forward", hook: "forward", rules: []rule{
		// A neighbour of the machine that routes the subnet to it would come to every port.
		{[]match{inward, out, {what: known}}, accept},
		{[]match{inward, out, {what: translated}}, accept},
		{[]match{inward, out}, drop},
	}}
	leave := chain{name: c.Name + "-leave", nat: true, hook: "postrouting", priority: 100, rules: []rule{
		// What the machine sends from loopback has to come back to it.
		{[]match{out, {what: source, prefix: loopback4}}, masquerade},
	}}
	for _, s := range []netip.Prefix{c.Subnet, c.Subnet6} {
		if s.IsValid() {
			leave.rules = append(leave.rules,
				rule{[]match{{what: source, prefix: s}, outward}, masquerade},
				// A container that came to another by a port of the machine is answered by the machine, else it would not know the answer.
				rule{[]match{{what: source, prefix: s}, out, {what: translated}}, masquerade})
		}
	}
	return []chain{guard, enter, own, forward, leave}
}
