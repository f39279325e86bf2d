// Package gpu gives a machine's gpus to containers: devices that are described by the Container Device Interface (CDI), each to one
// container at a time.
package gpu

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"
)

// Keeper knows which container has which of the machine's gpus. A nil Keeper gives nobody any: they are only counted.
type Keeper struct {
	kind string
	dirs []string

	mu   sync.Mutex
	held map[string][]device // by container; none: which it has is not known
}

// device is one gpu.
type device struct {
	// Name is KIND=NAME.
	Name string `json:"name"`
	// Nodes are the places of its own device nodes on the machine.
	Nodes []string `json:"nodes,omitempty"`
}

// New makes a keeper of the devices of a kind, VENDOR/CLASS, that the files in some directories describe. What is in a later directory
// goes before what is in an earlier one.
func New(kind string, dirs []string) (*Keeper, error) {
	vendor, class := parser.ParseQualifier(kind)
	if err := errors.Join(parser.ValidateVendorName(vendor), parser.ValidateClassName(class)); err != nil {
		return nil, fmt.Errorf("%q is not the kind of a device, as nvidia.com/gpu: %w", kind, err)
	}
	if len(dirs) == 0 {
		return nil, errors.New("there is no directory with descriptions of devices; name one")
	}
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			return nil, fmt.Errorf("%q is not an absolute path", dir)
		}
	}
	return &Keeper{kind: kind, dirs: dirs, held: map[string][]device{}}, nil
}

// Count says how many gpus the machine has now, and what is wrong with descriptions.
func (k *Keeper) Count() (int, error) {
	if k == nil {
		return 0, nil
	}
	cache, err := k.read()
	return len(k.devices(cache)), err
}

// read reads all descriptions. What cannot be read is left out, and the error tells of it.
func (k *Keeper) read() (*cdi.Cache, error) {
	cache, err := cdi.NewCache(cdi.WithSpecDirs(k.dirs...), cdi.WithAutoRefresh(false))
	if err != nil {
		return nil, err
	}
	all := cache.GetErrors()
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(all)) {
		errs = append(errs, fmt.Errorf("%s: %w", path, errors.Join(all[path]...)))
	}
	return cache, errors.Join(errs...)
}

// devices are those of the kind, the lowest name first. A gpu has several names in some descriptions, and there are names for all of
// them together: what has all the nodes of another is that one once more.
func (k *Keeper) devices(cache *cdi.Cache) []device {
	var all []device
	for _, name := range cache.ListDevices() {
		vendor, class, _, err := parser.ParseQualifiedName(name)
		if err != nil || vendor+"/"+class != k.kind {
			continue
		}
		d := device{Name: name}
		shared := map[string]bool{}
		in := cache.GetDevice(name)
		for _, n := range in.GetSpec().ContainerEdits.DeviceNodes {
			shared[place(n.HostPath, n.Path)] = true
		}
		for _, n := range in.ContainerEdits.DeviceNodes {
			if at := place(n.HostPath, n.Path); !shared[at] {
				d.Nodes = append(d.Nodes, at)
			}
		}
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b device) int { return compare(a.Name, b.Name) })
	var out []device
	for i := range all {
		again := slices.ContainsFunc(all[:i], func(o device) bool { return all[i].has(o) }) ||
			slices.ContainsFunc(all[i+1:], func(o device) bool { return all[i].has(o) && !o.has(all[i]) })
		if !again {
			out = append(out, all[i])
		}
	}
	return out
}

// place is where a node is on the machine.
func place(host, inside string) string {
	if host == "" {
		host = inside
	}
	return filepath.Clean(host)
}

// has says whether a device is another one, perhaps with more.
func (d device) has(o device) bool {
	if d.Name == o.Name {
		return true
	}
	for _, n := range o.Nodes {
		if !slices.Contains(d.Nodes, n) {
			return false
		}
	}
	return len(o.Nodes) > 0
}

// Take gives a container n gpus that no other has, until Free, or says why it cannot have them. They are those of the lowest names.
func (k *Keeper) Take(container string, n int) (*Grant, error) {
	if k == nil || n <= 0 {
		return nil, nil //nolint:nilnil // it gets none, and nothing is wrong
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for other, held := range k.held {
		if len(held) == 0 {
			return nil, fmt.Errorf("which gpus the container %s has is not known, since its record cannot be read; nobody gets any until it has ended", other)
		}
	}
	cache, problems := k.read()
	all := k.devices(cache)
	var free []device
	for _, d := range all {
		if !k.taken(d) {
			free = append(free, d)
		}
	}
	if len(free) < n {
		err := fmt.Errorf("it holds %d gpus, and of the %d devices %s of this machine %d are free; see that --resources has no more gpus than there are devices, and that %v describe all", n, len(all), k.kind, len(free), k.dirs)
		return nil, errors.Join(err, problems)
	}
	g := &Grant{devices: free[:n]}
	var names []string
	for _, d := range g.devices {
		names = append(names, d.Name)
	}
	var edited oci.Spec
	if _, err := cache.InjectDevices(&edited, names...); err != nil {
		return nil, err
	}
	if err := g.read(&edited); err != nil {
		return nil, fmt.Errorf("the devices %v: %w", names, err)
	}
	k.held[container] = g.devices
	return g, nil
}

// taken says whether a container has a device, by this name or another.
func (k *Keeper) taken(d device) bool {
	for _, held := range k.held {
		if slices.ContainsFunc(held, func(h device) bool { return h.has(d) || d.has(h) }) {
			return true
		}
	}
	return false
}

// Free takes a container's gpus back, if it has any. It is to have ended.
func (k *Keeper) Free(container string) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, container)
}

// recordVersion is what Record writes; Found reads it, and no later one.
const recordVersion = 1

// record is what outlives the agent.
type record struct {
	Version int      `json:"version"`
	Devices []device `json:"devices"`
}

// Found holds the gpus of a container that was found after a restart, by its Grant's record. One that cannot be read is an error, and
// nobody gets a gpu until that container has ended: it might be one of its.
func (k *Keeper) Found(container string, b []byte) error {
	if k == nil {
		return nil
	}
	var r record
	err := json.Unmarshal(b, &r)
	if err == nil && (r.Version != recordVersion || len(r.Devices) == 0) {
		err = fmt.Errorf("its version %d is not %d, or it has no devices", r.Version, recordVersion)
	}
	if err != nil {
		r.Devices = nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[container] = r.Devices
	return err
}
