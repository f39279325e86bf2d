package networked

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/network"
)

// The files in a container's directory. What is bound at ns is its namespace; the others but infos are what it finds in /etc.
const (
	nsFile       = "ns"
	infosFile    = "infos"
	hostsFile    = "hosts"
	resolverFile = "resolv.conf"
	hostnameFile = "hostname"
)

// Place is where a container is that has networks of its own.
type Place struct {
	// NetNS is where its namespace is bound.
	NetNS string
	// Infos are what its statuses report.
	Infos []*mesosv1.NetworkInfo
	// Hostname is what it is called that asks for no other name.
	Hostname string
}

// Reported are the Infos; of no place none.
func (p *Place) Reported() []*mesosv1.NetworkInfo {
	if p == nil {
		return nil
	}
	return p.Infos
}

// Address is the container's first one; empty: it has none.
func (p *Place) Address() string {
	for _, n := range p.Infos {
		for _, a := range n.GetIpAddresses() {
			return a.GetIpAddress()
		}
	}
	return ""
}

func (p *Place) file(name string) string { return filepath.Join(filepath.Dir(p.NetNS), name) }

// Files are those that it is to find in /etc, by their names there.
func (p *Place) Files() map[string]string {
	files := map[string]string{}
	for _, name := range []string{hostsFile, resolverFile, hostnameFile} {
		files[name] = p.file(name)
	}
	return files
}

// Show puts a container without an image there: it sees the machine's files, but for its own names. A nil Place changes nothing.
func (p *Place) Show(s *container.Spec) {
	if p == nil {
		return
	}
	s.NetNS, s.Hostname, s.Namespaces.UTS = p.NetNS, p.Hostname, true
	s.Root = &container.Root{}
	for name, file := range p.Files() { // order: they are apart
		if _, err := os.Stat("/etc/" + name); err == nil { // what the machine lacks is not made
			s.Root.Mounts = append(s.Root.Mounts, container.Mount{Kind: container.MountBind, Source: file, Target: "/etc/" + name, Flags: standard.ReadOnly})
		}
	}
}

// Dial connects to an address as the container would.
func (p *Place) Dial(ctx context.Context, proto, address string) (c net.Conn, err error) {
	inside := network.Do(p.NetNS, func() error {
		c, err = new(net.Dialer).DialContext(ctx, proto, address)
		return nil
	})
	if inside != nil {
		return nil, inside
	}
	return c, err
}

// writeFiles makes what is found in /etc.
func (p *Place) writeFiles(dns network.DNS, addresses []netip.Addr) error {
	machine, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for name, text := range map[string]string{
		hostsFile: network.Hosts(p.Hostname, addresses), resolverFile: network.ResolvConf(dns, machine, nil), hostnameFile: network.Hostname(p.Hostname),
	} {
		if err := os.WriteFile(p.file(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeInfos notes what the statuses report, for the next run of this process. A place is whole once it is there.
func (p *Place) writeInfos() error {
	b, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(&mesosv1.ContainerStatus{NetworkInfos: p.Infos})
	if err != nil {
		return err
	}
	return os.WriteFile(p.file(infosFile), b, 0o600)
}

// read reads what an earlier run of this process wrote; false: it is not there, or not whole.
func (p *Place) read() bool {
	b, err := os.ReadFile(p.file(infosFile))
	var s mesosv1.ContainerStatus
	if err != nil || (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(b, &s) != nil {
		return false
	}
	p.Infos = s.GetNetworkInfos()
	name, err := os.ReadFile(p.file(hostnameFile))
	p.Hostname = strings.TrimSpace(string(name))
	return err == nil
}
