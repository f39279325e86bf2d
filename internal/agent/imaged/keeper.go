// Package imaged is what an agent does for containers that have an image: it gets the image, makes a place for what the container
// changes, and describes the file system that it sees.
package imaged

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/dockertask"
	"github.com/pando-os/pando/internal/agent/gpu"
	"github.com/pando-os/pando/internal/image"
)

// scratchDir is below the work directory; what containers with images change is in it, each in a directory of its name.
const scratchDir = "scratch"

// Images provides the images of containers: a store of internal/image, of which the node knows where it is and who may be asked.
type Images interface {
	// Get makes an image present and holds it for a container until Release. force asks the registry even if it is there;
	// dockerConfig has credentials for it, as Docker's config.json, and may be empty.
	Get(ctx context.Context, container, reference string, force bool, dockerConfig []byte) (*Image, error)
	// Hold does so for a container that is found again; it is an error when the image is not there any more.
	Hold(container, digest string) error
	Release(container string)
	// Collect removes what nobody holds, the longest unused first, until a share of the disk is free.
	Collect(headroom float64) error
	// Prune removes all that nobody holds, but for some that are named.
	Prune(keep []string) error
	// List, Pull, Load and Remove are an operator's: by reference, or by digest. Load takes a file or directory of the machine's.
	List() []image.Image
	Pull(ctx context.Context, reference string) (image.Image, error)
	Load(ctx context.Context, path, name string) ([]image.Image, error)
	Remove(reference string) error
}

// Image is one that is present.
type Image struct {
	// Digest names it for good.
	Digest string
	// Store has the layers, directories named in Layers, topmost first.
	Store  string
	Layers []string
	Config image.Config
}

// Keeper knows which container has which image. A nil Keeper has no images.
type Keeper struct {
	images       Images
	dir, copyDir string
	backend      Backend
	rules        *confine.Rules
	gpus         *gpu.Keeper
	log          *slog.Logger

	look    sync.Once
	copied  bool          // images are copied; known once it was looked
	copying chan struct{} // a place for each image that may be copied
}

// New makes the keeper of an agent with a work directory; nil when there are no images. gpus may be nil.
func New(images Images, workDir string, backend Backend, rules *confine.Rules, gpus *gpu.Keeper, log *slog.Logger) *Keeper {
	if images == nil {
		return nil
	}
	return &Keeper{
		images: images, dir: filepath.Join(workDir, scratchDir), copyDir: filepath.Join(workDir, copiesDir), backend: backend, rules: rules, gpus: gpus, log: log,
		copying: make(chan struct{}, maxCopies),
	}
}

// Picture is what a container of an image is made of.
type Picture struct {
	// Container is the description as one of type MESOS.
	Container *mesosv1.ContainerInfo

	scratch string
	copied  string // where its own copies of images are; empty: there are none
	image   *Image
	volumes map[int]*Image   // that are among its volumes, by their places there
	docker  *dockertask.Task // nil: it is not of type DOCKER
	home    string           // of the image's user that it runs as; empty: of none
	keeper  *Keeper
	trusted bool // root asked for it
}

// Wants says whether a container has an image.
func Wants(c *mesosv1.ContainerInfo) bool {
	if c == nil { // DOCKER is the type of what has none
		return false
	}
	return c.GetType() == mesosv1.ContainerInfo_DOCKER || c.GetMesos().GetImage() != nil
}

// Provision gets the images that a container wants, and makes a place for what it changes. Drop takes both back. trusted says that root
// asked for it, who may have files of the machine's read.
func (k *Keeper) Provision(ctx context.Context, id string, c *mesosv1.ContainerInfo, trusted bool) (*Picture, error) {
	if k == nil {
		return nil, errors.New("this agent has no images: they need Linux, and an agent of root")
	}
	p := &Picture{Container: c, scratch: filepath.Join(k.dir, id), keeper: k, trusted: trusted}
	if c.GetType() == mesosv1.ContainerInfo_DOCKER {
		var err error
		if p.docker, err = dockertask.Read(c); err != nil {
			return nil, err
		}
		p.Container = p.docker.Container
	}
	digests, err := p.gather(ctx, id)
	if err != nil {
		k.Drop(id)
		return nil, err
	}
	err = errors.Join(os.RemoveAll(p.scratch), os.MkdirAll(p.scratch, 0o700))
	if err == nil {
		err = os.WriteFile(filepath.Join(p.scratch, "image"), []byte(strings.Join(digests, "\n")), 0o600) // for the next run of this process
	}
	if err != nil {
		k.Drop(id)
		return nil, fmt.Errorf("a place for the container's changes: %w", err)
	}
	if k.copies() {
		if err := p.copy(ctx, id); err != nil {
			k.Drop(id)
			return nil, fmt.Errorf("a copy of the image's files: %w", err)
		}
	}
	return p, nil
}

// Changes are where containers with images keep what they change: that of a name, and those below it. What is changed in copies is not
// there.
func (k *Keeper) Changes(id string) []string {
	if k == nil {
		return nil
	}
	own, _ := filepath.Glob(filepath.Join(k.dir, id)) // ids hold no pattern
	below, _ := filepath.Glob(filepath.Join(k.dir, id+".*"))
	return append(own, below...)
}

// gather gets the container's image and those among its volumes, and gives their digests.
func (p *Picture) gather(ctx context.Context, id string) (digests []string, err error) {
	get := func(want *mesosv1.Image) (*Image, error) {
		config, name := want.GetDocker().GetConfig().GetValue().GetData(), want.GetDocker().GetName()
		if _, local := image.ParseLocal(name); local && !p.trusted {
			return nil, fmt.Errorf("%s is a file of the machine's, which only frameworks of root may name; have it loaded there (pando image load), or name one at a registry", name)
		}
		i, err := p.keeper.images.Get(ctx, id, name, !want.GetCached(), config)
		if err == nil {
			digests = append(digests, i.Digest)
		}
		return i, err
	}
	if p.image, err = get(p.Container.GetMesos().GetImage()); err != nil {
		return nil, err
	}
	p.volumes = map[int]*Image{}
	for n, v := range p.Container.GetVolumes() {
		if v.GetImage() == nil {
			continue
		}
		if p.volumes[n], err = get(v.GetImage()); err != nil {
			return nil, fmt.Errorf("container.volumes[%d]: %w", n, err)
		}
	}
	return digests, nil
}

// Drop lets go of the images of a container that has ended, if it had any, and removes what it changed in them.
func (k *Keeper) Drop(id string) {
	if k == nil {
		return
	}
	k.images.Release(id)
	k.gpus.Free(id)
	err := os.RemoveAll(filepath.Join(k.copyDir, id)) // before that by which the next run of this process finds it
	if err == nil {
		err = os.RemoveAll(filepath.Join(k.dir, id))
	}
	if err != nil {
		k.log.Warn("what a container changed in its image cannot be removed; it is tried again when the agent starts", "container", id, "error", err)
	}
}

// Ended takes back what a container has to itself while it runs: its gpus. Its files are kept until Drop.
func (k *Keeper) Ended(id string) {
	if k != nil {
		k.gpus.Free(id)
	}
}

// Found holds the images of the containers that were found after a restart, and the gpus of those of them that run, and removes what
// those left that are not there.
func (k *Keeper) Found(ids, running []string) {
	if k == nil {
		return
	}
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return // none was ever made
	}
	for _, e := range entries {
		id := e.Name()
		if !slices.Contains(ids, id) {
			k.Drop(id)
			continue
		}
		digests, err := os.ReadFile(filepath.Join(k.dir, id, "image"))
		for digest := range strings.SplitSeq(string(digests), "\n") {
			if err == nil {
				err = k.images.Hold(id, digest)
			}
		}
		if err != nil {
			k.log.Error("the image of a running container cannot be held; do not remove images while it runs", "container", id, "error", err)
		}
		if slices.Contains(running, id) {
			k.foundGPUs(id)
		}
	}
}

// gpusFile is where a container's gpus are written down, in its scratch directory.
const gpusFile = "gpus"

// takeGPUs gives the container n gpus of its own, and writes down which.
func (p *Picture) takeGPUs(s *container.Spec, n int) error {
	grant, err := p.keeper.gpus.Take(s.ID, n)
	if grant == nil || err != nil {
		return err
	}
	b, err := grant.Record()
	if err == nil {
		err = os.WriteFile(filepath.Join(p.scratch, gpusFile), b, 0o600)
	}
	return errors.Join(err, grant.Apply(s))
}

// foundGPUs holds the gpus of a container that goes on.
func (k *Keeper) foundGPUs(id string) {
	b, err := os.ReadFile(filepath.Join(k.dir, id, gpusFile))
	if errors.Is(err, os.ErrNotExist) {
		return // it has none
	}
	if err = errors.Join(err, k.gpus.Found(id, b)); err != nil {
		k.log.Error("which gpus a running container has cannot be read; nobody gets any until it has ended", "container", id, "error", err)
	}
}
