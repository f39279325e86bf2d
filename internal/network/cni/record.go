package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"

	"github.com/pando-os/pando/internal/network"
)

// recordVersion is that of the files of attachments; maxRecord bounds one in bytes.
const (
	recordVersion = 1
	maxRecord     = maxFile + 128<<10
)

// record says which network a link of a container belongs to, and all that its plugins have to be told to take it away. It is written
// before they are told to add it, and goes after they took it away.
type record struct {
	Version   int             `json:"version"`
	Container string          `json:"container"`
	Network   string          `json:"network"`
	Interface string          `json:"interface"`
	Namespace string          `json:"namespace"`
	Ports     []port          `json:"ports,omitempty"`
	Config    json.RawMessage `json:"config"` // the list as it was when the container was joined
}

// port is a network.Port on disk, and as plugins read it.
type port struct {
	Host      uint16 `json:"hostPort"`
	Container uint16 `json:"containerPort"`
	Protocol  string `json:"protocol"`
}

// runtime is what plugins are told beside their configuration.
func (r *record) runtime() *libcni.RuntimeConf {
	rt := &libcni.RuntimeConf{ContainerID: r.Container, NetNS: r.Namespace, IfName: r.Interface}
	if len(r.Ports) > 0 {
		rt.CapabilityArgs = map[string]any{capability: r.Ports}
	}
	return rt
}

// parseRecord reads a file of an attachment.
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
	return r, errors.Join(network.CheckID(r.Container), network.CheckInterface(r.Interface))
}

func (c *CNI) dir() string { return filepath.Join(c.CacheDir, "attachments") }

func (c *CNI) path(id, iface string) string { return filepath.Join(c.dir(), id+"@"+iface) }

// write makes a record durable.
func (c *CNI) write(r *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir(), 0o700); err != nil {
		return err
	}
	path := c.path(r.Container, r.Interface)
	f, err := os.CreateTemp(c.dir(), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (c *CNI) read(id, iface string) (*record, error) {
	if err := errors.Join(network.CheckID(id), network.CheckInterface(iface)); err != nil {
		return nil, err
	}
	return readRecord(c.path(id, iface))
}

func readRecord(path string) (*record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (c *CNI) drop(r *record) error {
	if err := os.Remove(c.path(r.Container, r.Interface)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// records are all of them; one that cannot be read is an error beside the others.
func (c *CNI) records() ([]*record, error) {
	entries, err := os.ReadDir(c.dir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []*record
	for _, e := range entries {
		path := filepath.Join(c.dir(), e.Name())
		if e.Name()[0] == '.' { // a crash while it was written: no plugin was told
			err = errors.Join(err, os.Remove(path))
			continue
		}
		r, one := readRecord(path)
		if one != nil {
			err = errors.Join(err, one)
			continue
		}
		all = append(all, r)
	}
	return all, err
}
