package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/layer"
)

// wanted is an image on its way into the store.
type wanted struct {
	digest       string
	config       []byte
	configDigest string
	layers       []v1.Descriptor // as they are packed, bottom first; a size of 0 is not known
	names        []named
}

// source gives the bytes of the layers of one image by their index, as packed as they are. Whoever opens one closes it.
type source interface {
	open(ctx context.Context, i int) (io.ReadCloser, error)
}

// bring unpacks what is missing of an image, writes its record and claims it. What was unpacked before a failure stays for the next try
// when that failure may pass, and is removed when it will not.
func (s *Store) bring(ctx context.Context, w wanted, from source) error {
	c, err := s.examine(w)
	if err != nil {
		return err
	}
	chains, err := chainIDs(c.DiffIDs)
	if err != nil {
		return err
	}
	s.pin(chains, 1)
	err = s.bringLayers(ctx, w, c, chains, from)
	s.pin(chains, -1)
	if err != nil && !failure.Is(err, failure.Unreachable) && !failure.Is(err, failure.Canceled) {
		s.sweep()
	}
	return err
}

// examine checks all that can be known before a layer comes.
func (s *Store) examine(w wanted) (configFile, error) {
	if err := verify(w.configDigest, w.config); err != nil {
		return configFile{}, failure.Wrap(failure.BadDigest, err, "its config")
	}
	c, err := parseConfig(w.config)
	if err != nil {
		return configFile{}, err
	}
	if err := checkPlatform(c, s.platform); err != nil {
		return configFile{}, err
	}
	if len(w.layers) != len(c.DiffIDs) {
		return configFile{}, failure.New(failure.BadArchive, "its manifest has %d layers and its config %d rootfs.diff_ids; build the image again", len(w.layers), len(c.DiffIDs))
	}
	var all int64
	limit := s.cfg.limits().Bytes
	for i, l := range w.layers {
		if limit > 0 && l.Size > limit {
			return configFile{}, failure.New(failure.TooLarge, "layers[%d] has %d bytes even packed, and the image store's limit MaxLayerBytes is %d; raise it, or make the layer smaller", i, l.Size, limit)
		}
		all += l.Size
		if err := s.fits(all); err != nil {
			return configFile{}, err
		}
	}
	return c, nil
}

// fits checks the bytes of an image against their limit.
func (s *Store) fits(bytes int64) error {
	if limit := s.cfg.MaxImageBytes; limit > 0 && bytes > limit {
		return failure.New(failure.TooLarge, "it has more than %d bytes, the image store's limit MaxImageBytes; raise it, or make the image smaller", limit)
	}
	return nil
}

// pin keeps the layers of a running pull from being removed, or lets go of them.
func (s *Store) pin(chains []string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range chains {
		if s.pins[c] += by; s.pins[c] == 0 {
			delete(s.pins, c)
		}
	}
}

// bringLayers unpacks the missing layers in parallel and writes the record when all are there. The chains are pinned.
func (s *Store) bringLayers(ctx context.Context, w wanted, c configFile, chains []string, from source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &bringing{facts: make([]layerFacts, len(chains)), done: make([]chan struct{}, len(chains))}
	for i := range b.done {
		b.done[i] = make(chan struct{})
	}
	var wait sync.WaitGroup
	for i := range chains {
		wait.Go(func() {
			facts, err := s.bringLayer(ctx, b, i, want{w.layers[i], c.DiffIDs[i].String(), chains[i]}, from)
			if err == nil {
				err = s.fits(b.add(i, facts))
			}
			if err != nil {
				cancel(err) // the first one's counts
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	// The record is the promise that the layers are there, so they are on the disk before it.
	if err := syncAll(s.cfg.Dir); err != nil {
		return err
	}
	return s.enter(w, c, b.facts)
}

// bringing is the layers of one image as they come.
type bringing struct {
	mu    sync.Mutex
	facts []layerFacts
	bytes int64
	done  []chan struct{} // closed when facts of the same index are there
}

// add notes a layer, and gives the bytes of the image until now.
func (b *bringing) add(i int, f layerFacts) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.facts[i] = f
	b.bytes += f.Bytes
	close(b.done[i])
	return b.bytes
}

// below gives the facts of all layers below one, once they are there.
func (b *bringing) below(ctx context.Context, i int) ([]layerFacts, error) {
	for _, d := range b.done[:i] {
		select {
		case <-d:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]layerFacts(nil), b.facts[:i]...), nil
}

// want is one layer on its way.
type want struct {
	packed v1.Descriptor
	diff   string
	chain  string
}

// bringLayer sees that a layer is unpacked. Pulls of other images that want the same one share it; when it was another's that
// failed, this one tries for itself: credentials and registries differ.
func (s *Store) bringLayer(ctx context.Context, b *bringing, i int, l want, from source) (layerFacts, error) {
	for {
		s.mu.Lock()
		f, ok := s.chains[l.chain]
		s.mu.Unlock()
		if ok {
			return f, nil
		}
		// The call may outlive this pull when another one has joined it; it then ends by waiting for layers that do not come.
		joined, err := s.layers.do(ctx, l.chain, func(flight context.Context) (layerFacts, error) {
			return s.unpack(flight, ctx, b, i, l, from)
		}, func(got layerFacts) error {
			f = got
			return nil
		})
		if err == nil || !joined || ctx.Err() != nil {
			return f, err
		}
	}
}

// unpack fetches and unpacks one layer beside the others, and puts it in its place as a whole. owner is the context of the pull
// that the bytes and the layers below come from.
func (s *Store) unpack(ctx, owner context.Context, b *bringing, i int, l want, from source) (layerFacts, error) {
	r, err := from.open(ctx, i)
	if err != nil {
		return layerFacts{}, failure.Wrap(failure.Internal, err, "fetch layers[%d]", i)
	}
	defer r.Close()
	dir := s.workName()
	if err := makeDir(dir); err != nil {
		return layerFacts{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // in its place by then, unless something failed; what stays is removed at the next start
	res, err := s.unpackInto(ctx, dir, r)
	if err != nil {
		return layerFacts{}, failure.Wrap(failure.Internal, err, "unpack layers[%d]", i)
	}
	if res.Digest != l.diff {
		return layerFacts{}, failure.New(failure.BadDigest, "layers[%d] unpacks to %s, and its config's rootfs.diff_ids[%d] is %s; build the image again", i, res.Digest, i, l.diff)
	}
	if len(res.Implied) > 0 && i > 0 {
		below, err := b.below(owner, i)
		if err != nil {
			return layerFacts{}, err
		}
		if err := layer.Inherit(dir, res.Implied, s.lower(below)); err != nil {
			return layerFacts{}, failure.Wrap(failure.Internal, err, "unpack layers[%d]", i)
		}
	}
	return s.place(dir, layerFacts{Chain: l.chain, Diff: l.diff, Packed: l.packed.Size, Bytes: res.Bytes, Entries: res.Entries, Opaque: res.Opaque})
}

// makeDir makes the top of a layer, which is that of a container: whatever the umask.
func makeDir(dir string) error {
	return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755))
}

func (s *Store) unpackInto(ctx context.Context, dir string, r io.Reader) (layer.Result, error) {
	select {
	case s.unpacks <- struct{}{}:
		defer func() { <-s.unpacks }()
	case <-ctx.Done():
		return layer.Result{}, ctx.Err()
	}
	return layer.Unpack(ctx, dir, r, s.cfg.limits())
}

// place puts an unpacked layer where it belongs.
func (s *Store) place(dir string, f layerFacts) (layerFacts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if had, ok := s.chains[f.Chain]; ok {
		return had, nil
	}
	if s.pins[f.Chain] == 0 { // whoever wanted it has given up, and perhaps swept already
		return layerFacts{}, context.Canceled
	}
	if err := os.Rename(dir, s.layerPath(f.Chain)); err != nil {
		return layerFacts{}, fmt.Errorf("put a layer in its place: %w", err)
	}
	s.chains[f.Chain] = f
	return f, nil
}

// enter writes the config and the record of an image whose layers are there and pinned, and claims it.
func (s *Store) enter(w wanted, c configFile, facts []layerFacts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.images[w.digest]; st != nil {
		err := s.addNames(st, w.names)
		if err == nil {
			s.claim(w.digest)
		}
		return err
	}
	if err := s.writeFile(s.path(blobsDir, fileName(w.configDigest)), w.config, true); err != nil {
		return fmt.Errorf("write the config of the image: %w", err)
	}
	now := s.now()
	st := &stored{config: c.Config, record: record{Version: recordVersion, Digest: w.digest, Config: w.configDigest, Layers: facts, Pulled: now, LastUsed: now}}
	if err := s.addNames(st, w.names); err != nil {
		return err
	}
	s.images[w.digest] = st
	s.claim(w.digest)
	return nil
}
