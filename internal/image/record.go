package image

import (
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/image/reference"
)

// recordVersion is the form of records that this program writes, and the only one it reads: an image whose record is of
// another one is pulled again.
const recordVersion = 1

// maxRecord bounds a record on disk in bytes; 500 layers and a thousand names take a tenth of it.
const maxRecord = 4 << 20

// record is what the disk remembers of one image. There is one small file for each; references live in them too, so that a tag that
// moves leaves the image it was on as it is, for the containers that hold it.
type record struct {
	Version int `json:"version"`
	// Digest is the manifest's, or the config's when an archive came without a manifest. It names the image.
	Digest     string       `json:"digest"`
	Config     string       `json:"config"` // the digest of its config, which is a blob in the store
	Layers     []layerFacts `json:"layers"` // bottom first
	References []named      `json:"references"`
	Pulled     time.Time    `json:"pulled"`
	LastUsed   time.Time    `json:"lastUsed"`
}

// named is one reference of an image.
type named struct {
	Name string `json:"name"`
	// Top is the digest that the registry gave for the name: the manifest's, or that of the index that led to it. Empty when the
	// image was loaded from a file.
	Top string    `json:"top,omitempty"`
	At  time.Time `json:"at"`
}

// layerFacts are those of one unpacked layer.
type layerFacts struct {
	// Chain is the digest of this layer and all below it (OCI image specification 1.1, "Layer ChainID").
	Chain string `json:"chain"`
	// Diff is the digest of its uncompressed archive.
	Diff string `json:"diff"`
	// Packed and Bytes are its size as it travels and on disk.
	Packed  int64 `json:"packed"`
	Bytes   int64 `json:"bytes"`
	Entries int   `json:"entries"`
	// Opaque layers hide all below them.
	Opaque bool `json:"opaque,omitempty"`
}

// chainIDs computes the chain ids of layers from their diff ids, bottom first.
func chainIDs(diffs []v1.Hash) ([]string, error) {
	out := make([]string, len(diffs))
	for i, d := range diffs {
		if i == 0 {
			out[i] = d.String()
			continue
		}
		h, _, err := v1.SHA256(strings.NewReader(out[i-1] + " " + d.String()))
		if err != nil {
			return nil, err
		}
		out[i] = h.String()
	}
	return out, nil
}

// layerName is the directory of a chain id. Half of the digest is plenty, and short names matter: mount options with the names of
// all layers have to fit into a page of 4,096 bytes, which 127 layers do when the mount is made from the directory above them.
func layerName(chain string) string {
	h, err := v1.NewHash(chain)
	if err != nil {
		return ""
	}
	raw, err := hex.DecodeString(h.Hex[:32])
	if err != nil {
		return ""
	}
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))
}

// fileName is the name of what a digest names.
func fileName(digest string) string { return strings.Replace(digest, ":", "-", 1) }

// check says what is wrong with a record; everything in it is a name on disk sooner or later.
func (r *record) check() error {
	switch {
	case r.Version != recordVersion:
		return fmt.Errorf("its version is %d, and this program reads %d", r.Version, recordVersion)
	case !reference.IsDigest(r.Digest):
		return fmt.Errorf("digest %.100q is none", r.Digest)
	case !reference.IsDigest(r.Config):
		return fmt.Errorf("config %.100q is no digest", r.Config)
	case len(r.Layers) > maxLayers:
		return fmt.Errorf("it has %d layers", len(r.Layers))
	}
	for i, l := range r.Layers {
		if !reference.IsDigest(l.Chain) || !reference.IsDigest(l.Diff) || l.Bytes < 0 || l.Packed < 0 {
			return fmt.Errorf("layers[%d] is damaged", i)
		}
	}
	for _, n := range r.References {
		if p, err := reference.Parse(n.Name, ""); err != nil || p.String() != n.Name {
			return fmt.Errorf("references has %.100q, which is no whole name", n.Name)
		}
	}
	return nil
}

// readRecord reads and checks one record.
func readRecord(path string) (*record, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxRecord {
		return nil, errors.New("it is no small file")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if want := fileName(r.Digest) + ".json"; filepath.Base(path) != want {
		return nil, fmt.Errorf("it should be called %s", want)
	}
	return r, nil
}

// writeFile replaces a file as a whole: after a crash there is the old one or the new one. durable waits for the disk.
func (s *Store) writeFile(path string, raw []byte, durable bool) error {
	tmp := s.workName()
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // what stays is removed at the next start
		return err
	}
	if !durable {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// save writes the record of an image.
func (s *Store) save(r *record, durable bool) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return s.writeFile(s.recordPath(r.Digest), raw, durable)
}
