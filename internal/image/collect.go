package image

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/reference"
)

// Hold keeps an image, by reference or digest, from being removed while id lives: a container's. An id may hold several images, and
// holding twice is holding once. Holds are not on the disk: after a restart the caller holds again what its containers use,
// by digest, before it collects. The error is NotFound or Invalid.
func (s *Store) Hold(id, ref string) (Image, error) {
	if id == "" {
		return Image{}, failure.New(failure.Invalid, "an image is held by an id that is not empty")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.find(ref)
	if err != nil {
		return Image{}, err
	}
	if st == nil {
		return Image{}, notHere(ref)
	}
	return s.use(st, id), nil
}

// hold notes a holder; s.mu is held.
func (s *Store) hold(id, digest string) {
	if s.holds[id] == nil {
		s.holds[id] = map[string]bool{}
	}
	s.holds[id][digest] = true
}

// Release lets go of all that an id holds. Releasing what is not held is no error.
func (s *Store) Release(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for digest := range s.holds[id] {
		if st := s.images[digest]; st != nil {
			s.touch(st)
		}
	}
	delete(s.holds, id)
}

// held gives the digests that somebody holds, with by how many; s.mu is held.
func (s *Store) held() map[string]int {
	out := map[string]int{}
	for _, digests := range s.holds {
		for d := range digests {
			out[d]++
		}
	}
	return out
}

// Removed is an image that was removed.
type Removed struct {
	Digest     string
	References []string
	// Bytes are those of its layers that no other image has.
	Bytes int64
}

// Collected says what Collect did.
type Collected struct {
	Removed []Removed
	// Enough says that the disk has the headroom now. Where it has not, all that is left is held, kept, or no image.
	Enough bool
}

// Collect removes the images that nobody holds, the least recently used first, until the share headroom (0 to 1) of the disk is
// free. keep are references that stay whatever happens. Errors are Invalid for a reference or share that is none, before anything is
// removed, and those of the disk.
func (s *Store) Collect(headroom float64, keep ...string) (Collected, error) {
	if !(headroom >= 0 && headroom <= 1) {
		return Collected{}, failure.New(failure.Invalid, "the headroom %v must be a share of the disk from 0 to 1", headroom)
	}
	kept, err := s.parseAll(keep)
	if err != nil {
		return Collected{}, err
	}
	s.collecting.Lock()
	defer s.collecting.Unlock()
	var out Collected
	for swept := false; ; {
		if out.Enough, err = s.roomy(headroom); err != nil || out.Enough {
			return out, err
		}
		if !swept { // what broken-off pulls left is worth least
			swept = true
			if s.sweep() > 0 {
				continue
			}
		}
		r, ok, err := s.removeOldest(kept)
		if err != nil || !ok {
			return out, err
		}
		out.Removed = append(out.Removed, r)
	}
}

func (s *Store) roomy(headroom float64) (bool, error) {
	free, total, err := s.cfg.Disk(s.cfg.Dir)
	if err != nil {
		return false, err
	}
	return float64(free) >= headroom*float64(total), nil
}

// parseAll reads references to keep; digests are taken as they are.
func (s *Store) parseAll(refs []string) (map[string]bool, error) {
	out := map[string]bool{}
	for i, ref := range refs {
		if reference.IsDigest(ref) {
			out[ref] = true
			continue
		}
		r, err := reference.Parse(ref, s.cfg.DefaultRegistry)
		if err != nil {
			return nil, failure.Wrap(failure.Invalid, err, "keep[%d]", i)
		}
		out[s.name(r)] = true
	}
	return out, nil
}

// removeOldest removes the image that was used longest ago; false: none may be removed.
func (s *Store) removeOldest(kept map[string]bool) (Removed, bool, error) {
	s.mu.Lock()
	free := s.removable(kept)
	if len(free) == 0 {
		s.mu.Unlock()
		return Removed{}, false, nil
	}
	r, trash, err := s.drop(free[0])
	s.mu.Unlock()
	s.empty(trash)
	return r, err == nil, err
}

// removable gives the images that nobody holds and that are not to be kept, the least recently used first; s.mu is held.
func (s *Store) removable(kept map[string]bool) []*stored {
	held := s.held()
	var out []*stored
	for digest, st := range s.images {
		keep := held[digest] > 0 || s.claims[digest] > 0 || kept[digest]
		for _, n := range st.References {
			keep = keep || kept[n.Name]
		}
		if !keep {
			out = append(out, st)
		}
	}
	slices.SortFunc(out, func(a, b *stored) int {
		return cmp.Or(a.LastUsed.Compare(b.LastUsed), cmp.Compare(a.Digest, b.Digest))
	})
	return out
}

// drop removes an image from the books, and what only it had from its place; s.mu is held. The caller empties the trash without.
// The record goes first: a crash then leaves what the next Open removes.
func (s *Store) drop(st *stored) (Removed, []string, error) {
	if err := os.Remove(s.recordPath(st.Digest)); err != nil && !os.IsNotExist(err) {
		return Removed{}, nil, failure.New(failure.Internal, "remove the image %s: %w", st.Digest, err)
	}
	r := Removed{Digest: st.Digest}
	for _, n := range st.References {
		r.References = append(r.References, s.shown(n.Name))
		if s.names[n.Name] == st.Digest {
			delete(s.names, n.Name)
		}
	}
	slices.Sort(r.References)
	delete(s.images, st.Digest)
	if !s.anyImage(func(other *stored) bool { return other.Config == st.Config }) {
		_ = os.Remove(s.path(blobsDir, fileName(st.Config))) // or it is removed at the next start
	}
	trash, bytes := s.unplace()
	r.Bytes = bytes
	return r, trash, nil
}

func (s *Store) anyImage(is func(*stored) bool) bool {
	for _, st := range s.images {
		if is(st) {
			return true
		}
	}
	return false
}

// unplace takes the layers that no image and no running pull has from their place; s.mu is held.
func (s *Store) unplace() (trash []string, bytes int64) {
	used := map[string]bool{}
	for _, st := range s.images {
		for _, l := range st.Layers {
			used[l.Chain] = true
		}
	}
	for chain, f := range s.chains {
		if used[chain] || s.pins[chain] > 0 {
			continue
		}
		to := filepath.Join(s.path(trashDir), strconv.FormatUint(s.serial.Add(1), 10))
		if err := os.Rename(s.layerPath(chain), to); err != nil {
			s.cfg.Log.Warn("a layer that nobody needs cannot be removed", "layer", chain, "error", err)
			continue
		}
		delete(s.chains, chain)
		trash, bytes = append(trash, to), bytes+f.Bytes
	}
	return trash, bytes
}

// empty deletes what was put into the trash. It takes as long as it takes, so s.mu is not held.
func (s *Store) empty(trash []string) {
	for _, t := range trash {
		if err := os.RemoveAll(t); err != nil {
			s.cfg.Log.Warn("what is in the trash of the image store cannot be deleted; it is tried again at the next start", "path", t, "error", err)
		}
	}
}

// sweep removes the layers that broken-off pulls left, and gives their bytes.
func (s *Store) sweep() int64 {
	s.mu.Lock()
	trash, bytes := s.unplace()
	s.mu.Unlock()
	s.empty(trash)
	return bytes
}

// Remove takes a reference from its image, and removes the image with its last one; a digest removes the image under all its
// references. The error is NotFound, Invalid, or InUse when somebody holds the image and it would go.
func (s *Store) Remove(ref string) error {
	s.mu.Lock()
	trash, err := s.remove(ref)
	s.mu.Unlock()
	s.empty(trash)
	return err
}

// remove is Remove with s.mu held.
func (s *Store) remove(ref string) ([]string, error) {
	st, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return nil, notHere(ref)
	}
	if !reference.IsDigest(ref) && len(st.References) > 1 {
		r, err := reference.Parse(ref, s.cfg.DefaultRegistry)
		if err != nil {
			return nil, err
		}
		if s.names[s.name(r)] == st.Digest {
			return nil, s.unname(st, s.name(r))
		}
	}
	if n := s.held()[st.Digest]; n > 0 {
		return nil, failure.About(ref, failure.New(failure.InUse, "%d containers use it; stop them first", n))
	}
	if s.claims[st.Digest] > 0 {
		return nil, failure.About(ref, failure.New(failure.InUse, "it is being pulled; try again"))
	}
	_, trash, err := s.drop(st)
	return trash, err
}

// unname takes a reference from an image that has others; s.mu is held.
func (s *Store) unname(st *stored, name string) error {
	next := st.record
	next.References = slices.DeleteFunc(slices.Clone(st.References), func(n named) bool { return n.Name == name })
	if err := s.save(&next, true); err != nil {
		return failure.New(failure.Internal, "write the record of the image: %w", err)
	}
	st.record = next
	delete(s.names, name)
	return nil
}

// Prune removes all images that nobody holds, except those with a reference or digest in keep. It gives what was removed, also
// when it ends with an error.
func (s *Store) Prune(keep ...string) ([]Removed, error) {
	kept, err := s.parseAll(keep)
	if err != nil {
		return nil, err
	}
	s.collecting.Lock()
	defer s.collecting.Unlock()
	s.sweep()
	var out []Removed
	for {
		r, ok, err := s.removeOldest(kept)
		if err != nil || !ok {
			return out, err
		}
		out = append(out, r)
	}
}
