package network

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Limits of what is written into a container, which are those of the C library that reads it there.
const (
	maxNameservers = 3    // MAXNS: later ones are not asked
	maxHostname    = 64   // HOST_NAME_MAX of Linux
	maxResolver    = 64e3 // bytes of a machine's resolv.conf that are read
)

// CheckHostname refuses a name that a machine cannot bear: labels of letters, digits, hyphens and underscores, dots between them, 64
// bytes in all.
func CheckHostname(name string) error {
	if name == "" || len(name) > maxHostname {
		return fmt.Errorf("hostname: has %d bytes; give one of 1 to %d", len(name), maxHostname)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return fmt.Errorf("hostname: %q is no name of a machine; between its dots belong 1 to 63 characters that neither begin nor end with a hyphen", name)
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return fmt.Errorf("hostname: %q holds %q; take letters, digits, hyphens and dots", name, c)
			}
		}
	}
	return nil
}

// Hostname is the text of a container's /etc/hostname.
func Hostname(name string) string { return name + "\n" }

// Hosts is the text of a container's /etc/hosts: loopback, then its own name at each of its addresses. A name with dots is followed by
// its first label, as people expect of hostname -f. Without addresses the name is at a loopback address.
func Hosts(name string, addresses []netip.Addr) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	if name == "" || name == "localhost" {
		return b.String()
	}
	names := name
	if short, _, ok := strings.Cut(name, "."); ok {
		names += " " + short
	}
	if len(addresses) == 0 {
		addresses = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 1, 1})}
	}
	for _, a := range addresses {
		fmt.Fprintf(&b, "%s\t%s\n", a.WithZone(""), names)
	}
	return b.String()
}

// ResolvConf is the text of a container's /etc/resolv.conf. What a network said about names wins as a whole; else the machine's own
// settings are taken. Nameservers at a loopback address are left out, since the container's loopback is another, and fallback is taken
// where none remains. Three nameservers at most are written.
func ResolvConf(said DNS, machine []byte, fallback []netip.Addr) string {
	d := said
	if len(d.Nameservers) == 0 {
		m := ParseResolvConf(machine)
		d.Nameservers = slices.DeleteFunc(m.Nameservers, netip.Addr.IsLoopback)
		if d.Domain == "" && len(d.Search) == 0 {
			d.Domain, d.Search = m.Domain, m.Search
		}
		if len(d.Options) == 0 {
			d.Options = m.Options
		}
	}
	if len(d.Nameservers) == 0 {
		d.Nameservers = fallback
	}
	return d.text()
}

// text writes settings in the form of resolv.conf(5). What a plugin said is another's, so a word that would end its line is left out.
func (d *DNS) text() string {
	var b strings.Builder
	if word(d.Domain) && len(d.Search) == 0 {
		fmt.Fprintf(&b, "domain %s\n", d.Domain)
	}
	for _, l := range []struct {
		key   string
		words []string
	}{{"search", d.Search}, {"options", d.Options}} {
		if words := slices.DeleteFunc(slices.Clone(l.words), func(w string) bool { return !word(w) }); len(words) > 0 {
			fmt.Fprintf(&b, "%s %s\n", l.key, strings.Join(words, " "))
		}
	}
	for i, a := range d.Nameservers {
		if i == maxNameservers {
			break
		}
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	return b.String()
}

// word says whether s stays one word of one line.
func word(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' || c == ';' })
}

// ParseResolvConf reads a resolv.conf(5). What it does not understand is left out, as the C library does; of domain and search the
// last line counts. It reads 64,000 bytes at most.
func ParseResolvConf(text []byte) DNS {
	var d DNS
	s := bufio.NewScanner(bytes.NewReader(text[:min(len(text), maxResolver)]))
	for s.Scan() {
		line, _, _ := strings.Cut(s.Text(), "#")
		line, _, _ = strings.Cut(line, ";")
		words := slices.DeleteFunc(strings.Fields(line), func(w string) bool { return !word(w) })
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil {
				d.Nameservers = append(d.Nameservers, a)
			}
		case "domain":
			d.Domain, d.Search = words[1], nil
		case "search":
			d.Domain, d.Search = "", words[1:]
		case "options":
			d.Options = append(d.Options, words[1:]...)
		}
	}
	return d
}
