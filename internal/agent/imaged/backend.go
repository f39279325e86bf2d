package imaged

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/image/layer"
)

// Backend says how the layers of an image become the files of a container.
type Backend string

// The backends. Auto is Overlay where the kernel can, else Copy.
const (
	Auto    Backend = "auto"
	Overlay Backend = "overlay"
	Copy    Backend = "copy"
)

// Check says whether it is one; empty is Auto.
func (b Backend) Check() error {
	switch b {
	case "", Auto, Overlay, Copy:
		return nil
	}
	return fmt.Errorf("%q is no way to provide images; say auto, overlay or copy", string(b))
}

const (
	// copiesDir is below the work directory, beside scratchDir; copies of images are in it, each in a directory of its container's name.
	// They are not in scratchDir, where the disk that a container takes is looked at.
	copiesDir  = "copies"
	copiedRoot = "root"
	// maxCopies bounds how many images are copied at a time: more would only share the disk.
	maxCopies = 2
)

// copies says whether images are copied. The kernel is asked once.
func (k *Keeper) copies() bool {
	k.look.Do(func() {
		if k.copied = k.backend == Copy; k.copied || k.backend == Overlay {
			return
		}
		if err := tryOverlay(k.dir); err != nil {
			k.copied = true
			k.log.Warn("overlayfs cannot be used in the work directory, so the files of images are copied for each container, which takes time and disk; put --data-dir on another file system",
				"directory", k.dir, "error", err)
		}
	})
	return k.copied
}

// copy makes the container's own copies of its image and of those among its volumes that it may change or that have several layers.
func (p *Picture) copy(ctx context.Context, id string) error {
	select {
	case p.keeper.copying <- struct{}{}:
		defer func() { <-p.keeper.copying }()
	case <-ctx.Done():
		return ctx.Err()
	}
	p.copied = filepath.Join(p.keeper.copyDir, id)
	if err := errors.Join(os.RemoveAll(p.copied), p.flatten(ctx, p.image, copiedRoot)); err != nil {
		return err
	}
	for n, v := range p.Container.GetVolumes() {
		im := p.volumes[n]
		if im == nil || len(im.Layers) == 1 && v.GetMode() == mesosv1.Volume_RO {
			continue
		}
		if err := p.flatten(ctx, im, strconv.Itoa(n)); err != nil {
			return err
		}
	}
	return nil
}

// flatten copies an image into a directory of the container's.
func (p *Picture) flatten(ctx context.Context, im *Image, name string) error {
	to := filepath.Join(p.copied, name)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	dirs := make([]string, len(im.Layers))
	for i, l := range im.Layers {
		dirs[i] = filepath.Join(im.Store, l)
	}
	return layer.Flatten(ctx, dirs, to)
}
