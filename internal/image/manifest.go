package image

import (
	"encoding/json"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pando-os/pando/internal/image/failure"
)

// maxIndex bounds the manifests of one index, and maxNesting the indexes on the way to a manifest.
const (
	maxIndex   = 1000
	maxNesting = 3
)

// document is a manifest or an index as it is read: one of the two is set.
type document struct {
	manifest *v1.Manifest
	index    *v1.IndexManifest
}

// parseDocument reads a manifest or an index. The document itself says which it is, then the media type that it came with: one
// that could be both is refused, since others might read the other half (GHSA-mc8v-mgrf-8f4m).
func parseDocument(raw []byte, mediaType string) (document, error) {
	var probe struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Layers        json.RawMessage `json:"layers"`
		Config        json.RawMessage `json:"config"`
		Manifests     json.RawMessage `json:"manifests"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if len(raw) > maxDocument {
		return document{}, failure.New(failure.BadArchive, "the manifest has %d bytes, the limit is %d", len(raw), maxDocument)
	}
	if err := json.Unmarshal(raw, &probe); err != nil {
		return document{}, failure.New(failure.BadArchive, "the manifest is no JSON: %v", err)
	}
	kind := probe.MediaType
	if kind == "" {
		kind, _, _ = strings.Cut(mediaType, ";")
	}
	switch {
	case probe.FSLayers != nil || probe.SchemaVersion == 1 || types.MediaType(kind).IsSchema1():
		return document{}, failure.New(failure.BadArchive, "the manifest is of Docker's old schema 1; push the image again with a Docker of this decade")
	case probe.SchemaVersion != 2:
		return document{}, failure.New(failure.BadArchive, "the manifest has schemaVersion %d; it must be 2", probe.SchemaVersion)
	case probe.Manifests != nil && (probe.Layers != nil || probe.Config != nil):
		return document{}, failure.New(failure.BadArchive, "the manifest is an index and an image at once; build the image again")
	case probe.Manifests != nil && types.MediaType(kind).IsImage(), probe.Manifests == nil && types.MediaType(kind).IsIndex():
		return document{}, failure.New(failure.BadArchive, "the manifest is not what its media type %.100q says; build the image again", kind)
	}
	if probe.Manifests != nil {
		return parseIndex(raw)
	}
	return parseManifest(raw)
}

func parseIndex(raw []byte) (document, error) {
	d := document{index: &v1.IndexManifest{}}
	if err := json.Unmarshal(raw, d.index); err != nil {
		return document{}, failure.New(failure.BadArchive, "the index cannot be read: %v", err)
	}
	if n := len(d.index.Manifests); n > maxIndex {
		return document{}, failure.New(failure.TooLarge, "the index has %d manifests, the limit is %d", n, maxIndex)
	}
	return d, nil
}

func parseManifest(raw []byte) (document, error) {
	d := document{manifest: &v1.Manifest{}}
	m := d.manifest
	if err := json.Unmarshal(raw, m); err != nil {
		return document{}, failure.New(failure.BadArchive, "the manifest cannot be read: %v", err)
	}
	switch m.Config.MediaType {
	case types.OCIConfigJSON, types.DockerConfigJSON, "", "application/octet-stream":
	default:
		return document{}, failure.New(failure.BadArchive, "it is no image of a container: its config is of the type %.100q", m.Config.MediaType)
	}
	if err := checkDescriptor(m.Config, maxDocument); err != nil {
		return document{}, failure.Wrap(failure.BadArchive, err, "the manifest's config")
	}
	if n := len(m.Layers); n > maxLayers {
		return document{}, failure.New(failure.TooLarge, "the image has %d layers, and an overlay can have %d; build it with fewer (squash it)", n, maxLayers)
	}
	for i, l := range m.Layers {
		if err := checkDescriptor(l, 0); err != nil {
			return document{}, failure.Wrap(failure.BadArchive, err, "the manifest's layers[%d]", i)
		}
	}
	return d, nil
}

// checkDescriptor sees that a descriptor says what is needed to fetch it; limit bounds its size, 0 does not.
func checkDescriptor(d v1.Descriptor, limit int64) error {
	switch {
	case d.Digest.Hex == "":
		return failure.New(failure.BadArchive, "it has no digest")
	case d.Size < 0:
		return failure.New(failure.BadArchive, "its size is %d", d.Size)
	case limit > 0 && d.Size > limit:
		return failure.New(failure.TooLarge, "its size is %d, the limit is %d", d.Size, limit)
	}
	return nil
}

// choose picks what is made for a platform: the same variant first, then what says none. A manifest without a platform is taken
// where it is the only one that could be meant; its config decides. Errors are NoPlatform and name what there is.
func choose(index *v1.IndexManifest, want v1.Platform) (v1.Descriptor, error) {
	best, rank := v1.Descriptor{}, 0
	var has []string
	var silent []v1.Descriptor
	for _, d := range index.Manifests {
		if !d.MediaType.IsImage() && !d.MediaType.IsIndex() && d.MediaType != "" {
			continue
		}
		if d.Platform == nil || d.Platform.OS == "" {
			silent = append(silent, d)
			continue
		}
		if d.Platform.OS != "unknown" { // attestations, beside the images
			has = append(has, d.Platform.String())
		}
		if r := fits(*d.Platform, want); r > rank {
			best, rank = d, r
		}
	}
	if rank == 0 && len(silent) == 1 {
		best, rank = silent[0], 1
	}
	if rank == 0 {
		return v1.Descriptor{}, noPlatform(want, has)
	}
	return best, checkDescriptor(best, maxDocument)
}

// fits ranks a platform: 0 does not fit.
func fits(have, want v1.Platform) int {
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return 0
	}
	switch plain := plainVariant(have); {
	case plain == plainVariant(want):
		return 3
	case plain == "":
		return 2
	}
	return 0
}

// plainVariant leaves out the variants that every machine of the architecture has.
func plainVariant(p v1.Platform) string {
	if (p.Architecture == "amd64" && p.Variant == "v1") || (p.Architecture == "arm64" && p.Variant == "v8") {
		return ""
	}
	return p.Variant
}

func noPlatform(want v1.Platform, has []string) error {
	if len(has) > 20 {
		has = append(has[:20:20], "…")
	}
	slices.Sort(has)
	return failure.New(failure.NoPlatform, "it is not made for %s but for %s; push it for this platform too, or run it on agents of another", want, strings.Join(slices.Compact(has), ", "))
}

// checkPlatform compares the platform in a config, where it says one.
func checkPlatform(c configFile, want v1.Platform) error {
	have := v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	if have.OS == "" {
		have.OS = want.OS
	}
	if have.Architecture == "" {
		have.Architecture = want.Architecture
	}
	if fits(have, want) == 0 {
		return noPlatform(want, []string{have.String()})
	}
	return nil
}
