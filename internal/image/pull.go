package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/reference"
	"github.com/pando-os/pando/internal/image/registry"
)

// PullOptions are those of one pull.
type PullOptions struct {
	// Force asks the registry whether the tag is on another image now, though there is one already.
	Force bool
	// DockerConfig is a config.json with credentials for this image, tried before the cluster's. It is kept nowhere.
	DockerConfig []byte
	// Hold is an id that holds the image from the moment it is there; empty: nobody does, and it may be collected at once.
	Hold string
}

// Pull sees that an image is there, asking its registry when it is not. ref is a reference, or the digest of an image that is
// there already. All who want the same image with the same credentials at the same time share one pull; when ctx ends, only
// this caller's waiting does, and the pull goes on while others wait. An image that others pulled with credentials of their own
// is given to everybody who may use this store.
//
// Errors are an *Error with the reference and one of its kinds.
func (s *Store) Pull(ctx context.Context, ref string, o PullOptions) (Image, error) {
	credentials, err := registry.ParseCredentials(o.DockerConfig)
	if err != nil {
		return Image{}, failure.About(ref, err)
	}
	if img, ok, err := s.have(ref, o); ok || err != nil {
		return img, failure.About(ref, err)
	}
	r, err := reference.Parse(ref, s.cfg.DefaultRegistry)
	if err != nil {
		return Image{}, failure.About(ref, err)
	}
	// The credentials are in the key as a digest: others must neither profit from them nor fail by them.
	key := fmt.Sprintf("%s %t %x", r, o.Force, sha256.Sum256(o.DockerConfig))
	var img Image
	_, err = s.pulls.do(ctx, key, func(ctx context.Context) (string, error) {
		return s.pull(ctx, r, credentials)
	}, func(digest string) (err error) {
		img, err = s.take(digest, o.Hold)
		return err
	})
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = errClosed
	}
	return img, failure.About(r.String(), err)
}

// have gives an image that needs no registry. A digest alone that is not there is an error.
func (s *Store) have(ref string, o PullOptions) (Image, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reference.IsDigest(ref) {
		st := s.images[ref]
		if st == nil {
			return Image{}, false, failure.New(failure.NotFound, "no image of this digest is on this machine; name the repository it can be pulled from: REGISTRY/REPOSITORY@%s", ref)
		}
		return s.use(st, o.Hold), true, nil
	}
	r, err := reference.Parse(ref, s.cfg.DefaultRegistry)
	if err != nil {
		return Image{}, false, err
	}
	st := s.known(r)
	if st == nil || (o.Force && r.Digest == "") {
		return Image{}, false, nil
	}
	return s.use(st, o.Hold), true, nil
}

// use gives an image to a caller; s.mu is held.
func (s *Store) use(st *stored, hold string) Image {
	if hold != "" {
		s.hold(hold, st.Digest)
	}
	s.touch(st)
	return s.image(st)
}

// claim keeps an image that a pull or load found or brought until its callers have taken it; s.mu is held.
func (s *Store) claim(digest string) { s.claims[digest]++ }

// unclaim ends a claim.
func (s *Store) unclaim(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[digest]--; s.claims[digest] <= 0 {
		delete(s.claims, digest)
	}
}

// claimIfHere claims an image that was there a moment ago.
func (s *Store) claimIfHere(digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images[digest] == nil {
		return false
	}
	s.claim(digest)
	return true
}

// take gives an image that is claimed.
func (s *Store) take(digest, hold string) (Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.images[digest]
	if st == nil {
		return Image{}, notHere(digest)
	}
	return s.use(st, hold), nil
}

// pull asks the registry for an image, and gives its digest, claimed.
func (s *Store) pull(ctx context.Context, r reference.Reference, credentials *registry.Credentials) (string, error) {
	repo, err := s.client.Open(ctx, r, credentials, s.credentials)
	if err != nil {
		return "", err
	}
	if had, top := s.top(r); had != "" {
		if now, err := repo.Resolve(ctx, r.Tag); err == nil && now.String() == top && s.claimIfHere(had) {
			return had, nil
		}
	}
	doc, err := repo.Manifest(ctx, r.Identifier())
	if err != nil {
		return "", err
	}
	top := doc.Digest.String()
	manifest, digest, err := s.manifest(ctx, repo, doc)
	if err != nil {
		return "", err
	}
	if s.rename(digest, s.name(r), top) {
		return digest, nil
	}
	config, err := s.fetchConfig(ctx, repo, manifest.Config)
	if err != nil {
		return "", err
	}
	w := wanted{digest: digest, config: config, configDigest: manifest.Config.Digest.String(), layers: manifest.Layers, names: []named{{Name: s.name(r), Top: top}}}
	return digest, s.bring(ctx, w, &distant{store: s, repo: repo, layers: manifest.Layers})
}

// top gives the image that a tag is on here, and the digest that its registry gave for the tag then.
func (s *Store) top(r reference.Reference) (digest, top string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.images[s.names[s.name(r)]]
	if st == nil || r.Digest != "" {
		return "", ""
	}
	for _, n := range st.References {
		if n.Name == s.name(r) && n.Top != "" {
			return st.Digest, n.Top
		}
	}
	return "", ""
}

// manifest finds the manifest for this machine, through indexes if need be, and its digest.
func (s *Store) manifest(ctx context.Context, repo *registry.Repository, doc registry.Document) (*v1.Manifest, string, error) {
	for range maxNesting {
		d, err := parseDocument(doc.Raw, doc.MediaType)
		if err != nil {
			return nil, "", err
		}
		if d.manifest != nil {
			return d.manifest, doc.Digest.String(), nil
		}
		next, err := choose(d.index, s.platform)
		if err != nil {
			return nil, "", err
		}
		if doc, err = repo.Manifest(ctx, next.Digest.String()); err != nil {
			return nil, "", err
		}
	}
	return nil, "", failure.New(failure.BadArchive, "its index leads to indexes more than %d times", maxNesting-1)
}

// fetchConfig fetches a config, which is small, into memory.
func (s *Store) fetchConfig(ctx context.Context, repo *registry.Repository, d v1.Descriptor) ([]byte, error) {
	f, err := s.workFile()
	if err != nil {
		return nil, err
	}
	defer dropFile(f)
	if err := repo.Blob(ctx, d, f, nil); err != nil {
		return nil, failure.Wrap(failure.Internal, err, "fetch its config")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxDocument+1))
}

// rename claims an image that is there and gives it one more name, or the name that another one had. False: there is no such image.
func (s *Store) rename(digest, name, top string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.images[digest]
	if st == nil {
		return false
	}
	if err := s.addNames(st, []named{{Name: name, Top: top}}); err != nil {
		s.cfg.Log.Warn("the name of an image cannot be noted", "image", digest, "name", name, "error", err)
		return false // and is pulled, which says what is wrong
	}
	s.claim(digest)
	return true
}

// addNames writes an image with more names, and only then takes them from the images that had them: a crash in between leaves
// two records, of which the later one holds. s.mu is held.
func (s *Store) addNames(st *stored, names []named) error {
	next := st.record
	next.References = slices.DeleteFunc(slices.Clone(st.References), func(n named) bool {
		return slices.ContainsFunc(names, func(m named) bool { return m.Name == n.Name })
	})
	for _, n := range names {
		n.At = s.now()
		next.References = append(next.References, n)
	}
	if err := s.save(&next, true); err != nil {
		return fmt.Errorf("write the record of the image: %w", err)
	}
	st.record, st.savedUsed = next, next.LastUsed
	for _, n := range names {
		had := s.images[s.names[n.Name]]
		s.names[n.Name] = st.Digest
		if had == nil || had == st {
			continue
		}
		had.References = slices.DeleteFunc(slices.Clone(had.References), func(m named) bool { return m.Name == n.Name })
		if err := s.save(&had.record, false); err != nil {
			s.cfg.Log.Warn("an image keeps a name on the disk that another one has now", "image", had.Digest, "name", n.Name, "error", err)
		}
	}
	return nil
}

// distant gives the layers of an image at a registry. Each is on the disk as a whole, and verified, before it is unpacked.
type distant struct {
	store  *Store
	repo   *registry.Repository
	layers []v1.Descriptor
}

func (r *distant) open(ctx context.Context, i int) (io.ReadCloser, error) {
	select {
	case r.store.downloads <- struct{}{}:
		defer func() { <-r.store.downloads }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f, err := r.store.workFile()
	if err != nil {
		return nil, err
	}
	if err := r.repo.Blob(ctx, r.layers[i], f, nil); err != nil {
		dropFile(f)
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		dropFile(f)
		return nil, err
	}
	return &workFile{f}, nil
}

// workFile makes an empty file for what is on its way.
func (s *Store) workFile() (*os.File, error) {
	f, err := os.OpenFile(s.workName(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file for a download: %w", err)
	}
	return f, nil
}

func dropFile(f *os.File) {
	f.Close()
	_ = os.Remove(f.Name()) // what stays is removed at the next start
}

// workFile is one that goes when it is closed.
type workFile struct{ *os.File }

func (f *workFile) Close() error {
	return errors.Join(f.File.Close(), os.Remove(f.Name()))
}
