package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/image"
)

// images makes the store of images and hands it to the agent; nil where there can be none.
func (n *Node) images() (imaged.Images, error) {
	if !imagesWork() {
		return nil, nil //nolint:nilnil // there are none, and nothing is wrong
	}
	s := image.Settings{Dir: filepath.Join(n.cfg.DataDir, "images"), Clock: n.clock, Log: n.log.With("part", "images")}
	for _, host := range n.cfg.PlainRegistries {
		s.PlainHTTP = append(s.PlainHTTP, strings.TrimPrefix(host, "http://"))
	}
	registry := strings.TrimSuffix(n.cfg.Registry, "/")
	if host, plain := strings.CutPrefix(registry, "http://"); plain {
		registry, s.PlainHTTP = host, append(s.PlainHTTP, host)
	}
	s.DefaultRegistry = strings.TrimPrefix(registry, "https://")
	if n.cfg.DockerConfig != "" {
		name := strings.TrimPrefix(n.cfg.DockerConfig, "file://")
		if !filepath.IsAbs(name) {
			return nil, errors.New("--docker-config: give the absolute path of a file; credentials as they are would be shown among the agent's flags and processes")
		}
		var err error
		if s.DockerConfig, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("--docker-config: %w", err)
		}
	}
	if n.cfg.RegistryCA != "" {
		b, err := os.ReadFile(n.cfg.RegistryCA)
		if err != nil {
			return nil, fmt.Errorf("--registry-ca: %w", err)
		}
		if s.RootCAs, err = x509.SystemCertPool(); err != nil {
			s.RootCAs = x509.NewCertPool()
		}
		if !s.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("--registry-ca: %s has no certificate in PEM", n.cfg.RegistryCA)
		}
	}
	store, err := image.Open(s)
	if err != nil {
		return nil, fmt.Errorf("the images: %w", err)
	}
	n.stops = append(n.stops, store.Close)
	return &images{store}, nil
}

// images is a store in the agent's words.
type images struct{ store *image.Store }

func (i *images) Get(ctx context.Context, container, reference string, force bool, dockerConfig []byte) (*imaged.Image, error) {
	var got image.Image
	var err error
	if l, ok := image.ParseLocal(reference); ok {
		got, err = i.store.LoadLocal(ctx, l, container)
	} else {
		got, err = i.store.Pull(ctx, reference, image.PullOptions{Force: force, DockerConfig: dockerConfig, Hold: container})
	}
	if err != nil {
		return nil, err
	}
	lower, err := i.store.Lower(got.Digest)
	if err != nil {
		i.store.Release(container)
		return nil, err
	}
	out := &imaged.Image{Digest: got.Digest, Config: got.Config}
	for _, dir := range lower {
		if out.Store == "" {
			out.Store = filepath.Dir(dir)
		}
		name, err := filepath.Rel(out.Store, dir)
		if err != nil || !filepath.IsLocal(name) {
			i.store.Release(container)
			return nil, errors.New("the layers of the image are in several places")
		}
		out.Layers = append(out.Layers, name)
	}
	return out, nil
}

func (i *images) Hold(container, digest string) error {
	_, err := i.store.Hold(container, digest)
	return err
}

func (i *images) Release(container string) { i.store.Release(container) }

func (i *images) Collect(headroom float64) error {
	_, err := i.store.Collect(headroom)
	return err
}

func (i *images) Prune(keep []string) error {
	_, err := i.store.Prune(keep...)
	return err
}

func (i *images) List() []image.Image { return i.store.List() }

func (i *images) Pull(ctx context.Context, reference string) (image.Image, error) {
	return i.store.Pull(ctx, reference, image.PullOptions{Force: true})
}

func (i *images) Load(ctx context.Context, path, name string) ([]image.Image, error) {
	return i.store.Load(ctx, path, image.LoadOptions{Name: name})
}

func (i *images) Remove(reference string) error { return i.store.Remove(reference) }
