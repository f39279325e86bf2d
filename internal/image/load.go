package image

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/reference"
)

// LoadOptions are those of one load.
type LoadOptions struct {
	// Name is a reference to give to the image, beside those in the file. It takes a file with one image.
	Name string
	// Hold is an id that holds the images from the moment they are there; empty: nobody does.
	Hold string
}

// Load takes the images from a file or directory, without any registry: what docker save wrote, or an OCI layout, as it is or
// packed with gzip or zstd. It gives them with the references found, which may be none: such an image goes by its digest. When one
// cannot be loaded, those before it are there and given with the error.
func (s *Store) Load(ctx context.Context, path string, o LoadOptions) ([]Image, error) {
	b, err := s.openBundle(ctx, path)
	if err != nil {
		return nil, failure.Wrap(failure.Internal, err, "load images from %s", path)
	}
	defer func() { _ = b.Close() }() // only read from
	out, err := s.loadAll(ctx, b, o)
	return out, failure.Wrap(failure.Internal, err, "load images from %s", path)
}

func (s *Store) loadAll(ctx context.Context, b bundle, o LoadOptions) ([]Image, error) {
	all, err := s.contents(b)
	if err != nil {
		return nil, err
	}
	if o.Name != "" {
		if len(all) != 1 {
			return nil, failure.New(failure.Invalid, "Name: there are %d images, and only one can get the name %q", len(all), o.Name)
		}
		all[0].refs = append(all[0].refs, o.Name)
	}
	var out []Image
	for _, p := range all {
		names, err := s.nameAll(p.refs)
		if err != nil {
			return out, err
		}
		p.names = names
		img, err := s.loadOne(ctx, p, &local{bundle: b, files: p.files}, o.Hold)
		if err != nil {
			return out, err
		}
		out = append(out, img)
	}
	return out, nil
}

// packaged is one image in a bundle.
type packaged struct {
	wanted
	files []string // of the layers, bottom first
	refs  []string
}

func (s *Store) nameAll(refs []string) ([]named, error) {
	var out []named
	for _, ref := range refs {
		r, err := reference.Parse(ref, s.cfg.DefaultRegistry)
		if err != nil {
			return nil, err
		}
		out = append(out, named{Name: s.name(r)})
	}
	return out, nil
}

// loadOne brings one image; several loads of the same one at the same time share the layers.
func (s *Store) loadOne(ctx context.Context, p packaged, from source, hold string) (Image, error) {
	if err := s.bring(ctx, p.wanted, from); err != nil {
		return Image{}, failure.About(p.digest, err)
	}
	defer s.unclaim(p.digest)
	return s.take(p.digest, hold)
}

// contents finds the images of a bundle: those of manifest.json, which Docker writes, or else of index.json.
func (s *Store) contents(b bundle) ([]packaged, error) {
	raw, err := readAll(b, "manifest.json")
	if err == nil {
		return fromDocker(b, raw)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	raw, err = readAll(b, "index.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure.New(failure.BadArchive, "it has neither a manifest.json (docker save) nor an index.json (OCI layout)")
	}
	if err != nil {
		return nil, err
	}
	return s.fromLayout(b, raw)
}

// readAll reads a small file of a bundle.
func readAll(b bundle, name string) ([]byte, error) {
	f, size, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxDocument {
		return nil, failure.New(failure.TooLarge, "%s has %d bytes, the limit is %d", name, size, maxDocument)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxDocument))
	if err != nil {
		return nil, failure.New(failure.BadArchive, "read %s: %w", name, err)
	}
	return raw, nil
}

// mustRead is readAll for what has to be there.
func mustRead(b bundle, name string) ([]byte, error) {
	raw, err := readAll(b, name)
	return raw, failure.Wrap(failure.BadArchive, err, "it lacks a part")
}

// fromDocker reads what docker save wrote. There is no manifest of a registry in it, so the config's digest names the image.
func fromDocker(b bundle, raw []byte) ([]packaged, error) {
	var list []struct {
		Config   string   `json:"Config"`
		RepoTags []string `json:"RepoTags"`
		Layers   []string `json:"Layers"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, failure.New(failure.BadArchive, "manifest.json is not as docker save writes it: %v", err)
	}
	if len(list) == 0 || len(list) > maxIndex {
		return nil, failure.New(failure.BadArchive, "manifest.json has %d images; there must be 1 to %d", len(list), maxIndex)
	}
	var out []packaged
	for _, m := range list {
		config, err := mustRead(b, m.Config)
		if err != nil {
			return nil, err
		}
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(config))
		p := packaged{wanted: wanted{digest: digest, config: config, configDigest: digest}, files: m.Layers, refs: m.RepoTags}
		if p.layers, err = sizes(b, m.Layers); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// sizes describes layers by their size alone, and sees that they are there.
func sizes(b bundle, files []string) ([]v1.Descriptor, error) {
	if len(files) > maxLayers {
		return nil, failure.New(failure.TooLarge, "an image has %d layers, and an overlay can have %d", len(files), maxLayers)
	}
	out := make([]v1.Descriptor, 0, len(files))
	for _, name := range files {
		f, size, err := b.open(name)
		if err != nil {
			return nil, failure.Wrap(failure.BadArchive, err, "it lacks a part")
		}
		f.Close()
		out = append(out, v1.Descriptor{Size: size})
	}
	return out, nil
}

// The annotations that hold the name of an image in an OCI layout: the specification's, which may be a tag alone, and that of
// containerd, which is a whole reference.
const (
	nameAnnotation = "org.opencontainers.image.ref.name"
	fullAnnotation = "io.containerd.image.name"
)

// nameOf gives the whole reference that a layout has for an image, or "".
func nameOf(d v1.Descriptor) string {
	if full := d.Annotations[fullAnnotation]; full != "" {
		return full
	}
	if name := d.Annotations[nameAnnotation]; strings.ContainsAny(name, "/:") {
		return name
	}
	return ""
}

// fromLayout reads an OCI layout (OCI image specification 1.1, "Image Layout"). What has the same name is one image for several
// platforms.
func (s *Store) fromLayout(b bundle, raw []byte) ([]packaged, error) {
	d, err := parseIndex(raw)
	if err != nil {
		return nil, err
	}
	return s.fromManifests(b, d.index.Manifests)
}

func (s *Store) fromManifests(b bundle, manifests []v1.Descriptor) ([]packaged, error) {
	var order []string
	groups := map[string][]v1.Descriptor{}
	for _, m := range manifests {
		key := nameOf(m)
		if key == "" && m.Platform == nil {
			key = "\x00" + m.Digest.String()
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], m)
	}
	if len(order) == 0 {
		return nil, failure.New(failure.BadArchive, "index.json names no image")
	}
	var out []packaged
	for _, key := range order {
		p, err := s.fromIndex(b, &v1.IndexManifest{Manifests: groups[key]})
		if err != nil {
			return nil, err
		}
		if name := nameOf(groups[key][0]); name != "" {
			p.refs = append(p.refs, name)
		}
		out = append(out, p)
	}
	return out, nil
}

// fromIndex follows an index to the manifest for this machine.
func (s *Store) fromIndex(b bundle, index *v1.IndexManifest) (packaged, error) {
	for range maxNesting {
		next, err := choose(index, s.platform)
		if err != nil {
			return packaged{}, err
		}
		raw, err := readBlob(b, next.Digest)
		if err != nil {
			return packaged{}, err
		}
		d, err := parseDocument(raw, string(next.MediaType))
		if err != nil {
			return packaged{}, err
		}
		if d.manifest != nil {
			return fromManifest(b, next.Digest, d.manifest)
		}
		index = d.index
	}
	return packaged{}, failure.New(failure.BadArchive, "its index leads to indexes more than %d times", maxNesting-1)
}

func fromManifest(b bundle, digest v1.Hash, m *v1.Manifest) (packaged, error) {
	config, err := readBlob(b, m.Config.Digest)
	if err != nil {
		return packaged{}, err
	}
	p := packaged{wanted: wanted{digest: digest.String(), config: config, configDigest: m.Config.Digest.String()}}
	for _, l := range m.Layers {
		p.files = append(p.files, blobFile(l.Digest))
	}
	p.layers, err = sizes(b, p.files)
	return p, err
}

func blobFile(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// readBlob reads and verifies a small blob of a layout.
func readBlob(b bundle, h v1.Hash) ([]byte, error) {
	raw, err := mustRead(b, blobFile(h))
	if err != nil {
		return nil, err
	}
	return raw, failure.Wrap(failure.BadDigest, verify(h.String(), raw), "%s", blobFile(h))
}

// local gives layers from a bundle. Their digests as they are packed are not looked at: what they unpack to is verified.
type local struct {
	bundle
	files []string
}

func (l *local) open(_ context.Context, i int) (io.ReadCloser, error) {
	f, _, err := l.bundle.open(l.files[i])
	return f, failure.Wrap(failure.BadArchive, err, "it lacks a part")
}
