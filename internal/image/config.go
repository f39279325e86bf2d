package image

import (
	"bytes"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/image/failure"
)

// Config is what an image says about the containers that run it (OCI image specification 1.1, "Image configuration",
// the config object). Its words are the image author's: whoever uses them checks them.
type Config struct {
	Entrypoint []string
	Cmd        []string
	// Env has NAME=VALUE lines in the image's order.
	Env        []string
	WorkingDir string
	// User is NAME, UID, NAME:GROUP or UID:GID, to be looked up inside of the image; empty: root.
	User string
	// Volumes are directories that the image wants kept out of its own file system, sorted.
	Volumes []string
	// StopSignal is a name (SIGTERM) or a number; empty: SIGTERM.
	StopSignal string
	Labels     map[string]string
	// ExposedPorts are PORT/tcp, PORT/udp or PORT, sorted.
	ExposedPorts []string
}

// Bounds of one image, below which every real one stays.
const (
	maxDocument = 4 << 20 // bytes of a manifest, an index or a config; registries refuse longer ones too
	maxLayers   = 500     // the kernel mounts no more directories in one overlay
)

// configFile is a config with what the store itself needs of it.
type configFile struct {
	Config
	OS, Architecture, Variant string
	DiffIDs                   []v1.Hash
}

// parseConfig reads the config document of an image.
func parseConfig(raw []byte) (configFile, error) {
	if len(raw) > maxDocument {
		return configFile{}, failure.New(failure.BadArchive, "the image's config has %d bytes, the limit is %d", len(raw), maxDocument)
	}
	f, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return configFile{}, failure.New(failure.BadArchive, "the image's config is no JSON of a config: %v", err)
	}
	if t := f.RootFS.Type; t != "" && t != "layers" {
		return configFile{}, failure.New(failure.BadArchive, "the image's config has a rootfs.type %q; only layers can be unpacked", t)
	}
	if n := len(f.RootFS.DiffIDs); n > maxLayers {
		return configFile{}, failure.New(failure.TooLarge, "the image has %d layers, and an overlay can have %d; build it with fewer (squash it)", n, maxLayers)
	}
	for i, d := range f.RootFS.DiffIDs {
		if d.Hex == "" {
			return configFile{}, failure.New(failure.BadArchive, "the image's config has no rootfs.diff_ids[%d]", i)
		}
	}
	c := f.Config
	return configFile{
		Config: Config{
			Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User,
			Volumes: slices.Sorted(maps.Keys(c.Volumes)), StopSignal: c.StopSignal, Labels: c.Labels,
			ExposedPorts: slices.Sorted(maps.Keys(c.ExposedPorts)),
		},
		OS: f.OS, Architecture: f.Architecture, Variant: f.Variant, DiffIDs: f.RootFS.DiffIDs,
	}, nil
}

// clone gives a copy that its receiver may change.
func (c Config) clone() Config {
	c.Entrypoint, c.Cmd, c.Env = slices.Clone(c.Entrypoint), slices.Clone(c.Cmd), slices.Clone(c.Env)
	c.Volumes, c.ExposedPorts, c.Labels = slices.Clone(c.Volumes), slices.Clone(c.ExposedPorts), maps.Clone(c.Labels)
	return c
}
