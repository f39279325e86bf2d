package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
)

// recordVersion is that of the files in a book; maxRecord bounds one in bytes.
const (
	recordVersion = 1
	maxRecord     = 128 << 10
	newSuffix     = ".new"
)

// record says who has an address, and with it whatever the bridge made for it.
type record struct {
	Version   int        `json:"version"`
	Container string     `json:"container"` // empty: nobody knows any more, and a sweep frees it
	Address   netip.Addr `json:"address"`
	Address6  netip.Addr `json:"address6,omitzero"`
	Link      string     `json:"link"`
	Ports     []port     `json:"ports,omitempty"`
}

// port is a network.Port on disk.
type port struct {
	Host      uint16 `json:"host"`
	Container uint16 `json:"container"`
	Protocol  string `json:"protocol"`
}

func (p port) value() network.Port {
	protocol, _ := network.ParseProtocol(p.Protocol) // read checked it
	return network.Port{Host: p.Host, Container: p.Container, Protocol: protocol}
}

// book is the allocator of addresses: a directory with one file for each address that is taken, named by it. A file appears whole,
// before anything is made for its container, and disappears after all that is gone; so after a crash the files name all that there may
// be. They are not synced to the disk, since addresses, links and rules end with the machine as well. One goroutine at a time.
type book struct {
	cfg        *Config
	last       netip.Addr
	addresses  map[netip.Addr]*record
	containers map[string]*record
}

// openBook reads what a directory holds, which is there. What is unreadable keeps its address until a sweep.
func openBook(cfg *Config) (*book, error) {
	b := &book{cfg: cfg, addresses: map[netip.Addr]*record{}, containers: map[string]*record{}}
	files, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), newSuffix) { // a crash while it was written: nothing was made yet
			if err := os.Remove(filepath.Join(cfg.Dir, f.Name())); err != nil {
				return nil, err
			}
			continue
		}
		a, err := netip.ParseAddr(f.Name())
		if err != nil || !a.Is4() {
			continue
		}
		r, err := readRecord(filepath.Join(cfg.Dir, f.Name()), a)
		if err != nil || b.containers[r.Container] != nil {
			r = &record{Version: recordVersion, Address: a}
		}
		b.put(r)
		if !b.last.IsValid() || b.last.Less(a) {
			b.last = a
		}
	}
	return b, nil
}

func readRecord(path string, a netip.Addr) (*record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(text)
	if err == nil && r.Address != a {
		err = fmt.Errorf("address: %s does not fit the name of its file", r.Address)
	}
	return r, err
}

// parseRecord reads a file of a book.
func parseRecord(text []byte) (*record, error) {
	r := &record{}
	if len(text) > maxRecord {
		return nil, fmt.Errorf("has %d bytes; %d is the most", len(text), maxRecord)
	}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, err
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("version: %d is not known; start the Pando that wrote it", r.Version)
	}
	if err := network.CheckID(r.Container); err != nil {
		return nil, err
	}
	if !r.Address.Is4() || r.Address6.IsValid() && !r.Address6.Is6() || !strings.HasPrefix(r.Link, linkPrefix) {
		return nil, errors.New("address, address6, link: they do not make sense")
	}
	for _, p := range r.Ports {
		if _, err := network.ParseProtocol(p.Protocol); err != nil || p.Host == 0 || p.Container == 0 {
			return nil, errors.New("ports: they do not make sense")
		}
	}
	return r, nil
}

func (b *book) put(r *record) {
	b.addresses[r.Address] = r
	if r.Container != "" {
		b.containers[r.Container] = r
	}
}

// take gives a container an address and records its ports.
func (b *book) take(id string, ports []network.Port) (*record, error) {
	if r := b.containers[id]; r != nil {
		return nil, fault.New(fault.Conflict, "container %s has %s on bridge %s already; remove it first", id, r.Address, b.cfg.Name)
	}
	if err := b.free(ports); err != nil {
		return nil, err
	}
	if len(b.addresses) >= maxContainers {
		return nil, fault.New(fault.Busy, "bridge %s: %d containers are linked to it, and Linux takes no more; wait until one ends", b.cfg.Name, len(b.addresses))
	}
	a, ok := next(b.cfg.Subnet, b.last, func(a netip.Addr) bool { return b.addresses[a] != nil })
	if !ok {
		return nil, fault.New(fault.Busy, "subnet: %s of bridge %s is full, %d containers have its addresses; wait until one ends, or give the bridge a larger subnet",
			b.cfg.Subnet, b.cfg.Name, len(b.addresses))
	}
	r := &record{
		Version: recordVersion, Container: id, Address: a, Address6: numbered6(b.cfg.Subnet6, number(b.cfg.Subnet, a)), Link: linkName(b.cfg.Name, id),
	}
	for _, p := range ports {
		r.Ports = append(r.Ports, port{p.Host, p.Container, p.Protocol.String()})
	}
	if err := b.write(r); err != nil {
		return nil, err
	}
	b.put(r)
	b.last = a
	return r, nil
}

// free refuses ports of the machine that lead elsewhere.
func (b *book) free(ports []network.Port) error {
	if len(ports) == 0 {
		return nil
	}
	for _, r := range b.addresses {
		for _, has := range r.Ports {
			for i, p := range ports {
				if has.Host == p.Host && has.Protocol == p.Protocol.String() {
					return fault.New(fault.Conflict, "ports[%d]: %d/%s leads to container %s; take another port", i, p.Host, p.Protocol, r.Container)
				}
			}
		}
	}
	return nil
}

// write makes the file of a record appear whole, and refuses where another has the address, were it in another process.
func (b *book) write(r *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := b.path(r)
	if err := os.WriteFile(path+newSuffix, text, 0o600); err != nil {
		return err
	}
	return errors.Join(os.Link(path+newSuffix, path), os.Remove(path+newSuffix))
}

// drop frees the address of a record.
func (b *book) drop(r *record) error {
	if err := os.Remove(b.path(r)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	delete(b.addresses, r.Address)
	if b.containers[r.Container] == r {
		delete(b.containers, r.Container)
	}
	return nil
}

func (b *book) path(r *record) string { return filepath.Join(b.cfg.Dir, r.Address.String()) }
