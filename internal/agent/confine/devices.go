package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Device is one of the machine's that containers with an image find in their /dev, whoever's they are.
type Device struct {
	Path        string
	Read, Write bool
}

// ParseDevices reads an operator's list: PATH or PATH:ACCESS with commas between them, where ACCESS is of r, w and m, or the original's
// JSON. Who may make nodes is not asked: those that a container makes open nothing.
func ParseDevices(text string) ([]Device, error) {
	text = strings.TrimSpace(text)
	var out []Device
	var err error
	if strings.HasPrefix(text, "{") {
		out, err = devicesOfJSON(text)
	} else {
		out, err = devicesOfList(text)
	}
	if err != nil {
		return nil, err
	}
	for i, d := range out {
		switch {
		case !strings.HasPrefix(d.Path, "/dev/") || path.Clean(d.Path) != d.Path:
			return nil, fmt.Errorf("%q is not the path of a device below /dev", d.Path)
		case slices.ContainsFunc([]string{"/dev/pts/", "/dev/shm/", "/dev/mqueue/", "/dev/fd/"}, func(dir string) bool { return strings.HasPrefix(d.Path+"/", dir) }):
			return nil, fmt.Errorf("%s is in a place that each container has of its own", d.Path)
		case !d.Read && !d.Write:
			return nil, fmt.Errorf("%s: may be neither read nor written; allow one of them, or leave it out", d.Path)
		case slices.ContainsFunc(out[:i], func(o Device) bool { return o.Path == d.Path }):
			return nil, fmt.Errorf("%s is there twice", d.Path)
		}
	}
	return out, nil
}

func devicesOfList(text string) (out []Device, err error) {
	for part := range strings.SplitSeq(text, ",") {
		name, access, given := strings.Cut(strings.TrimSpace(part), ":")
		if name == "" {
			continue
		}
		if !given {
			access = "rwm"
		}
		if strings.Trim(access, "rwm") != "" || access == "" {
			return nil, fmt.Errorf("%q is not PATH or PATH:ACCESS with an access of r, w and m", part)
		}
		out = append(out, Device{name, strings.Contains(access, "r"), strings.Contains(access, "w")})
	}
	return out, nil
}

func devicesOfJSON(text string) (out []Device, err error) {
	var in struct {
		Allowed []struct {
			Device struct {
				Path string `json:"path"`
			} `json:"device"`
			Access struct {
				Read  bool `json:"read"`
				Write bool `json:"write"`
				Mknod bool `json:"mknod"`
			} `json:"access"`
		} `json:"allowed_devices"`
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || d.More() {
		return nil, errors.Join(errors.New(`it is not like {"allowed_devices": [{"device": {"path": "/dev/fuse"}, "access": {"read": true, "write": true}}]}`), err)
	}
	for _, a := range in.Allowed {
		out = append(out, Device{a.Device.Path, a.Access.Read, a.Access.Write})
	}
	return out, nil
}
