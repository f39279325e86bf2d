package image

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/reference"
)

// Local names an image in a file or directory of the machine's, as other tools do.
type Local struct {
	// Path is absolute.
	Path string
	// Layout says that it is an OCI layout, and not what docker save writes.
	Layout bool
	// Pick is which image of several: the tag that a layout has for it, or its reference; empty: there is but one.
	Pick string
}

// The kinds of local names.
const (
	layoutPrefix  = "oci:"
	archivePrefix = "docker-archive:"
)

// SplitLocal takes oci:DIR[:TAG] and docker-archive:FILE[:NAME:TAG] apart; ok is false for any other name. The path is as it is
// written, and can have no colon.
func SplitLocal(s string) (l Local, ok bool) {
	rest, archive := strings.CutPrefix(s, archivePrefix)
	if !archive {
		if rest, l.Layout = strings.CutPrefix(s, layoutPrefix); !l.Layout {
			return Local{}, false
		}
	}
	l.Path, l.Pick, _ = strings.Cut(rest, ":")
	return l, true
}

// ParseLocal reads the name of a local image. One whose path is not absolute is none: an image may be called oci, or docker-archive.
func ParseLocal(s string) (Local, bool) {
	l, ok := SplitLocal(s)
	return l, ok && filepath.IsAbs(l.Path)
}

// String is the name that ParseLocal reads.
func (l Local) String() string {
	s := archivePrefix + l.Path
	if l.Layout {
		s = layoutPrefix + l.Path
	}
	if l.Pick != "" {
		s += ":" + l.Pick
	}
	return s
}

// LoadLocal brings a local image and holds it for an id, from the moment it is there. It gets no reference: who has a file does not
// decide what a name means to others.
func (s *Store) LoadLocal(ctx context.Context, l Local, hold string) (Image, error) {
	b, err := s.openBundle(ctx, l.Path)
	if failure.Is(err, failure.NotFound) {
		err = failure.New(failure.NotFound, "%w; the file must be on the machine of the node that runs the task", err)
	}
	if err != nil {
		return Image{}, failure.About(l.String(), err)
	}
	defer func() { _ = b.Close() }() // only read from
	p, err := s.pick(b, l)
	if err != nil {
		return Image{}, failure.About(l.String(), err)
	}
	return s.loadOne(ctx, p, &local{bundle: b, files: p.files}, hold)
}

// pick finds the one image of a bundle that is meant.
func (s *Store) pick(b bundle, l Local) (packaged, error) {
	look, file := s.pickSaved, "manifest.json"
	if l.Layout {
		look, file = s.pickLaid, "index.json"
	}
	raw, err := readAll(b, file)
	if errors.Is(err, fs.ErrNotExist) {
		err = failure.New(failure.BadArchive, "it has no %s; name an OCI layout as oci:DIR[:TAG], and what docker save wrote as docker-archive:FILE[:NAME:TAG]", file)
	}
	if err != nil {
		return packaged{}, err
	}
	all, names, err := look(b, raw, l.Pick)
	switch {
	case err != nil:
		return packaged{}, err
	case len(all) == 1:
		return all[0], nil
	case l.Pick != "":
		return packaged{}, failure.New(failure.NotFound, "it has %d images called %q; it has %s", len(all), l.Pick, list(names))
	}
	return packaged{}, failure.New(failure.Invalid, "it has %d images; put behind a colon which is meant: %s", len(all), list(names))
}

// maxListed bounds how many names are said.
const maxListed = 10

func list(names []string) string {
	if len(names) == 0 {
		return "none with a name"
	}
	text := strings.Join(names[:min(len(names), maxListed)], ", ")
	if len(names) > maxListed {
		text += ", …"
	}
	return text
}

// pickSaved looks in what docker save wrote.
func (s *Store) pickSaved(b bundle, raw []byte, pick string) (all []packaged, names []string, err error) {
	if all, err = fromDocker(b, raw); err != nil {
		return nil, nil, err
	}
	for _, p := range all {
		names = append(names, p.refs...)
	}
	if pick == "" {
		return all, names, nil
	}
	want, err := reference.Parse(pick, s.cfg.DefaultRegistry)
	if err != nil {
		return nil, nil, err
	}
	all = slices.DeleteFunc(all, func(p packaged) bool {
		return !slices.ContainsFunc(p.refs, func(ref string) bool {
			r, err := reference.Parse(ref, s.cfg.DefaultRegistry)
			return err == nil && s.name(r) == s.name(want)
		})
	})
	return all, names, nil
}

// pickLaid looks in an OCI layout.
func (s *Store) pickLaid(b bundle, raw []byte, pick string) (all []packaged, names []string, err error) {
	d, err := parseIndex(raw)
	if err != nil {
		return nil, nil, err
	}
	var meant []v1.Descriptor
	for _, m := range d.index.Manifests {
		called := slices.DeleteFunc([]string{m.Annotations[nameAnnotation], m.Annotations[fullAnnotation]}, func(s string) bool { return s == "" })
		names = append(names, called...)
		if pick == "" || slices.Contains(called, pick) {
			meant = append(meant, m)
		}
	}
	if len(meant) == 0 {
		return nil, names, nil
	}
	all, err = s.fromManifests(b, meant)
	return all, names, err
}
