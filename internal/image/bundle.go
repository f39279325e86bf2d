package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/layer"
)

// bundle is images as files: a directory or an archive.
type bundle interface {
	// open gives a file and its size. One that is not there is an fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// openBundle opens a directory or an archive, which may be packed with gzip or zstd.
func (s *Store) openBundle(ctx context.Context, path string) (bundle, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, failure.New(failure.NotFound, "%w", err)
	}
	if st.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, failure.New(failure.BadArchive, "%w", err)
		}
		return &folder{root}, nil
	}
	if !st.Mode().IsRegular() {
		return nil, failure.New(failure.BadArchive, "%s is neither a file nor a directory", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, failure.New(failure.NotPermitted, "%w", err)
	}
	return s.openArchive(ctx, f)
}

// folder is an OCI layout in a directory. os.Root keeps its links inside.
type folder struct{ *os.Root }

func (d *folder) open(name string) (io.ReadCloser, int64, error) {
	st, err := d.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	if err != nil { // a link that leads outside, for one
		return nil, 0, failure.New(failure.BadArchive, "%w", err)
	}
	if !st.Mode().IsRegular() { // a pipe would be waited for
		return nil, 0, failure.New(failure.BadArchive, "%s is no plain file", name)
	}
	f, err := d.Open(name)
	return f, st.Size(), err
}

// Bounds of one archive of images.
const (
	maxMembers = 100_000
	maxHops    = 4 // links from one member to another, in archives of old versions of Docker
)

// archive is a tar archive with the places of its members.
type archive struct {
	file    io.ReaderAt
	size    int64
	close   func() error
	members map[string]member
}

type member struct {
	at, size int64
	link     string // the whole name of another member, instead
}

// openArchive finds the members of an archive; f is the archive's from now on. One that is packed is unpacked beside first, within
// the limit of an image, since its members are not read in their order.
func (s *Store) openArchive(ctx context.Context, f *os.File) (bundle, error) {
	a := &archive{file: f, close: f.Close, members: map[string]member{}}
	packed, err := isPacked(f)
	if err == nil && packed {
		err = s.unpackArchive(ctx, a, f)
	}
	if err == nil && !packed {
		a.size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		err = a.read(ctx)
	}
	if err != nil {
		_ = a.Close() // only read from
		return nil, err
	}
	return a, nil
}

// isPacked looks at the first bytes: a tar archive begins with a name.
func isPacked(f *os.File) (bool, error) {
	var magic [4]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	head := string(magic[:n])
	return strings.HasPrefix(head, "\x1f\x8b") || head == "\x28\xb5\x2f\xfd", nil
}

func (s *Store) unpackArchive(ctx context.Context, a *archive, f *os.File) error {
	defer f.Close()
	tmp, err := s.workFile()
	if err != nil {
		return err
	}
	a.file, a.close = tmp, (&workFile{tmp}).Close
	limits := layer.Limits{Bytes: max(0, s.cfg.MaxImageBytes), BytesSetting: "MaxImageBytes", Ratio: max(0, s.cfg.MaxRatio)}
	r, err := layer.Open(ctx, f, limits)
	if err != nil {
		return err
	}
	defer r.Close()
	if a.size, err = io.Copy(tmp, r); err != nil {
		return failure.Wrap(failure.BadArchive, err, "unpack the archive")
	}
	return nil
}

// read notes where the members are. The tar reader reads no further than it must, so after a header its source stands where the
// contents begin.
func (a *archive) read(ctx context.Context) error {
	from := io.NewSectionReader(a.file, 0, a.size)
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return failure.New(failure.BadArchive, "it is neither an archive of docker save nor of an OCI layout: %v", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(a.members) >= maxMembers {
			return failure.New(failure.TooLarge, "the archive has more than %d members", maxMembers)
		}
		at, err := from.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			a.members[name] = member{at: at, size: h.Size}
		case tar.TypeSymlink:
			a.members[name] = member{link: path.Clean(path.Join("/", path.Dir(name), h.Linkname))} //nolint:gosec // a key of the map; nothing is extracted
		case tar.TypeLink:
			a.members[name] = member{link: path.Clean("/" + h.Linkname)}
		}
	}
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	name = path.Clean("/" + name)
	for range maxHops {
		m, ok := a.members[name]
		if !ok {
			break
		}
		if m.link == "" {
			return io.NopCloser(io.NewSectionReader(a.file, m.at, m.size)), m.size, nil
		}
		name = m.link
	}
	return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// Close lets go of the file.
func (a *archive) Close() error { return a.close() }
