package bridge

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRulesArePlannedAsTheGoldenTableSays(t *testing.T) {
	c := Config{Name: "pando0", Subnet: netip.MustParsePrefix("172.31.254.0/24"), Subnet6: netip.MustParsePrefix("fd00:7061::/64")}
	golden, err := os.ReadFile("testdata/rules.nft")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), c.text()); diff != "" {
		t.Error(diff)
	}
	c.Subnet6 = netip.Prefix{}
	for line := range strings.Lines(c.text()) {
		if strings.Contains(line, "ip6") {
			t.Errorf("no IPv6 is asked for: %s", line)
		}
	}
}

// text is the table of a bridge as nft prints it.
func (c *Config) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", table)
	for _, six := range c.families() {
		value := map[bool]string{false: "ipv4_addr", true: "ipv6_addr"}[six]
		fmt.Fprintf(&b, "\tmap %s {\n\t\ttype inet_proto . inet_service : %s . inet_service\n\t}\n\n", mapName(c.Name, six), value)
	}
	var chains []string
	for _, ch := range c.chains() {
		chains = append(chains, ch.text(c.Name))
	}
	return b.String() + strings.Join(chains, "\n") + "}\n"
}

// text is a chain as nft prints it.
func (c *chain) text(bridge string) string {
	var b strings.Builder
	kind, priority := "filter", map[int]string{-300: "raw", -100: "dstnat", 0: "filter", 100: "srcnat"}[c.priority]
	if c.nat {
		kind = "nat"
	}
	if c.hook == "output" {
		priority = fmt.Sprint(c.priority) // has no name there
	}
	fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %s; policy accept;\n", c.name, kind, c.hook, priority)
	for _, r := range c.rules {
		fmt.Fprintf(&b, "\t\t%s\n", r.text(bridge))
	}
	b.WriteString("\t}\n")
	return b.String()
}

func (r *rule) text(bridge string) string {
	var words []string
	for _, m := range r.matches {
		words = append(words, m.text())
	}
	const key = "to meta l4proto . th dport map @"
	return strings.Join(append(words, map[verdict]string{
		accept: "accept", drop: "drop", masquerade: "masquerade", mapped4: "dnat ip " + key + mapName(bridge, false),
		mapped6: "dnat ip6 " + key + mapName(bridge, true),
	}[r.verdict]), " ")
}

func (m *match) text() string {
	not, family := "", "ip"
	if m.not {
		not = "!= "
	}
	if m.prefix.Addr().Is6() {
		family = "ip6"
	}
	subnet := m.prefix.String()
	if m.prefix.IsSingleIP() {
		subnet = m.prefix.Addr().String()
	}
	switch m.what {
	case from:
		return fmt.Sprintf("iifname %s%q", not, m.link)
	case to:
		return fmt.Sprintf("oifname %s%q", not, m.link)
	case source:
		return family + " saddr " + not + subnet
	case destination:
		return family + " daddr " + not + subnet
	case local:
		return "fib daddr type local"
	case translated:
		return "ct status dnat"
	case known:
		return "ct state established,related"
	default:
		return "meta nfproto ipv4"
	}
}
