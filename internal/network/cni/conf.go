package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"

	mesosv1 "github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/mesos"
)

// Limits of a directory of descriptions.
const (
	maxFiles = 256
	maxFile  = 1 << 20 // bytes of one
)

// capability is what a plugin says that maps ports.
const capability = "portMappings"

// found is what a directory has.
type found struct {
	networks map[string][]byte // by name, as lists
	broken   []error           // each names its file
}

// readDir reads the descriptions in a directory.
func readDir(dir string) (*found, error) {
	f := &found{networks: map[string][]byte{}}
	entries, err := os.ReadDir(dir) // sorted by name
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		return !slices.Contains([]string{".conflist", ".conf", ".json"}, filepath.Ext(e.Name()))
	})
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("%s has %d descriptions of networks; %d is the most", dir, len(entries), maxFiles)
	}
	for _, e := range entries {
		name, text, err := readFile(filepath.Join(dir, e.Name()))
		if err != nil {
			f.broken = append(f.broken, fmt.Errorf("%s: %w", e.Name(), err))
			continue
		}
		if _, taken := f.networks[name]; !taken {
			f.networks[name] = text
		}
	}
	return f, nil
}

func readFile(path string) (name string, list []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return "", nil, errors.Join(err, errors.New("is no file"))
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return "", nil, err
	}
	return normalise(text)
}

func (f *found) names() []string { return slices.Sorted(maps.Keys(f.networks)) }

// unknown is the error for a network that there is not.
func (f *found) unknown(name string) error {
	err := network.Unknown(name, f.names())
	if len(f.broken) > 0 {
		err = fmt.Errorf("%w; not read: %w", err, errors.Join(f.broken[:min(len(f.broken), 5)]...))
	}
	return err
}

// object is JSON of which the members that nobody here looks at stay as they are.
type object map[string]json.RawMessage

// text is a member that is a text, or "".
func (o object) text(key string) (s string) {
	_ = json.Unmarshal(o[key], &s)
	return s
}

// set sets a member. Its value is one that JSON can say.
func (o object) set(key string, value any) {
	o[key], _ = json.Marshal(value)
}

// normalise makes a list of the description of a network: of a single plugin a list of one, and of the original's port mapper, which
// wrapped another plugin, that plugin and portmap.
func normalise(text []byte) (name string, list []byte, err error) {
	if len(text) > maxFile {
		return "", nil, fmt.Errorf("is larger than %d bytes", maxFile)
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return "", nil, err
	}
	if o == nil {
		return "", nil, errors.New("is no object of JSON")
	}
	if _, is := o["plugins"]; !is {
		if o, err = listOf(o); err != nil {
			return "", nil, err
		}
	}
	// Plugins that files elsewhere add to a list are a matter of the newest runtimes; here a list is what is in it.
	o.set("loadOnlyInlinedPlugins", true)
	list, err = json.Marshal(o)
	if err != nil {
		return "", nil, err
	}
	l, err := parse(list)
	if err != nil {
		return "", nil, err
	}
	return l.Name, list, nil
}

// listOf makes a list of a single plugin's description.
func listOf(plugin object) (object, error) {
	if plugin.text("type") == "" {
		return nil, errors.New("type: is missing; name a plugin, or give a list of plugins")
	}
	o := object{"plugins": nil, "name": plugin["name"]}
	if v, ok := plugin["cniVersion"]; ok {
		o["cniVersion"] = v
	}
	if plugin.text("type") != "mesos-cni-port-mapper" {
		o.set("plugins", []object{plugin})
		return o, nil
	}
	var delegate object
	if err := json.Unmarshal(plugin["delegate"], &delegate); err != nil || delegate.text("type") == "" {
		return nil, errors.New("delegate: is no description of a plugin; say which makes the network")
	}
	o.set("plugins", []object{delegate, {"type": json.RawMessage(`"portmap"`), "snat": json.RawMessage(`true`), "capabilities": json.RawMessage(`{"portMappings":true}`)}})
	if v := o.text("cniVersion"); v == "" || v[0] == '0' && v < "0.3.1" { // before it there were no lists
		o.set("cniVersion", "0.3.1")
	}
	return o, nil
}

// parse reads a list.
func parse(text []byte) (*libcni.NetworkConfigList, error) {
	l, err := libcni.ConfListFromBytes(text)
	if err != nil {
		return nil, err
	}
	if err := utils.ValidateNetworkName(l.Name); err != nil {
		return nil, fmt.Errorf("name: %q cannot be that of a network; take letters, digits, dots, hyphens and underscores", l.Name)
	}
	if len(l.Plugins) == 0 {
		return nil, errors.New("plugins: there are none; name at least one")
	}
	return l, nil
}

// withInfo puts what a framework wrote into each plugin's args.org.apache.mesos.network_info, beside whatever else is in args.
func withInfo(list []byte, info *mesosv1.NetworkInfo) ([]byte, error) {
	if info == nil {
		return list, nil
	}
	wrote, err := mesos.AppendJSON(nil, info)
	if err != nil {
		return nil, err
	}
	var o object
	var plugins []object
	if err := errors.Join(json.Unmarshal(list, &o), json.Unmarshal(o["plugins"], &plugins)); err != nil {
		return nil, err
	}
	for i, p := range plugins {
		args := object{}
		if have := p["args"]; len(have) > 0 && !bytes.Equal(have, []byte("null")) {
			if err := json.Unmarshal(have, &args); err != nil {
				return nil, fmt.Errorf("plugins[%d].args: %w", i, err)
			}
		}
		args.set("org.apache.mesos", object{"network_info": wrote})
		p.set("args", args)
	}
	o.set("plugins", plugins)
	return json.Marshal(o)
}
