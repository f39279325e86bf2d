package imaged

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
)

// mountImage has an image mounted as the nth volume. What the container changes in it is in its scratch directory, and goes
// with that.
func (p *Picture) mountImage(n int, im *Image, m *container.Mount) error {
	layers := im.Layers
	if im.Store != p.image.Store { // else the store is the working directory, and all names together must fit into a page
		layers = nil
		for _, l := range im.Layers {
			layers = append(layers, filepath.Join(im.Store, l))
		}
	}
	if m.Flags&standard.ReadOnly != 0 && len(layers) == 1 { // an overlay has two directories at least
		m.Source = filepath.Join(im.Store, im.Layers[0])
		return nil
	}
	if p.copied != "" {
		m.Source = filepath.Join(p.copied, strconv.Itoa(n))
		return nil
	}
	m.Kind, m.FS, m.Data = container.MountNew, "overlay", "lowerdir="+strings.Join(layers, ":")
	if m.Flags&standard.ReadOnly != 0 {
		return nil
	}
	dir := filepath.Join(p.scratch, "volumes", strconv.Itoa(n))
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	m.Data += ",upperdir=" + escape.Replace(upper) + ",workdir=" + escape.Replace(work)
	return errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755))
}

// escape lets a path stand among a mount's options.
var escape = strings.NewReplacer(`\`, `\\`, ",", `\,`)
