package gpu

import (
	"debug/elf"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	oci "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/pando-os/pando/internal/agent/container"
)

// hooks looks at the programs that are to be run for the devices. They would run as root, on the machine, with what a container's files
// say, so none is run. What NVIDIA's program would do is known, and done or needless here; any other is an error.
func (g *Grant) hooks(h *oci.Hooks) error {
	if h == nil {
		return nil
	}
	all := slices.Concat(h.Prestart, h.CreateRuntime, h.CreateContainer, h.StartContainer, h.Poststart, h.Poststop) //nolint:staticcheck // old ones are hooks too
	for i := range all {
		words := nvidia(all[i].Args)
		switch {
		case len(words) == 0:
			return fmt.Errorf("they want a program run as root on the machine (hooks: %s %q), which this agent does not do; describe them without hooks", all[i].Path, all[i].Args)
		case words[0] == "create-symlinks":
			if err := g.link(words[1:]); err != nil {
				return err
			}
		case words[0] == "update-ldcache":
			g.linkLibraries()
		}
	}
	return nil
}

// nvidia are the words behind the name of NVIDIA's program, as far as they are known. Directories of nodes may be entered here anyway
// (chmod), no node that a container makes opens anything (disable-device-node-modification), and libraries for drivers of other versions
// are left to the image (enable-cuda-compat).
func nvidia(args []string) []string {
	switch {
	case len(args) > 1 && path.Base(args[0]) == "nvidia-cdi-hook":
		args = args[1:]
	case len(args) > 2 && path.Base(args[0]) == "nvidia-ctk" && args[1] == "hook":
		args = args[2:]
	default:
		return nil
	}
	if slices.Contains([]string{"create-symlinks", "update-ldcache", "chmod", "disable-device-node-modification", "enable-cuda-compat"}, args[0]) {
		return args
	}
	return nil
}

// link makes the links that are asked for: --link TARGET::PLACE, again and again.
func (g *Grant) link(words []string) error {
	for i := 0; i < len(words); i++ {
		value, ok := strings.CutPrefix(words[i], "--link=")
		if !ok && words[i] == "--link" && i+1 < len(words) {
			i++
			value, ok = words[i], true
		}
		target, at, two := strings.Cut(value, "::")
		if !ok || !two || target == "" || !path.IsAbs(at) {
			return fmt.Errorf("the hook create-symlinks has %q, which is not --link TARGET::/PLACE", words)
		}
		g.mounts = append(g.mounts, container.Mount{Kind: container.MountLink, Target: path.Clean(at), Source: target})
	}
	return nil
}

// linkLibraries shows the devices' libraries under the names that programs look for, beside them. That is what an entry in the linker's
// cache would do, where they are in a directory that it looks into by itself.
func (g *Grant) linkLibraries() {
	for _, m := range slices.Clone(g.mounts) {
		if m.Kind != container.MountBind || !strings.Contains(filepath.Base(m.Source), ".so") {
			continue
		}
		name := soname(m.Source)
		at := path.Join(path.Dir(m.Target), name)
		if name == "" || slices.ContainsFunc(g.mounts, func(o container.Mount) bool { return o.Target == at }) {
			continue
		}
		g.mounts = append(g.mounts, container.Mount{Kind: container.MountLink, Target: at, Source: path.Base(m.Target)})
	}
}

// soname is the name under which programs look for a library of the machine's; empty: it has none.
func soname(file string) string {
	f, err := elf.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it was only read
	names, err := f.DynString(elf.DT_SONAME)
	if err != nil || len(names) == 0 || names[0] != path.Base(names[0]) || names[0] == "." {
		return ""
	}
	return names[0]
}
