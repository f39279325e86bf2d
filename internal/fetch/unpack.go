package fetch

import (
	"archive/tar"
	"archive/zip"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// unpacker unpacks the archive of that name next to it.
type unpacker func(ctx context.Context, b *box, name string, from *os.File) error

// unpackers by suffix, longer ones first where one ends in the other.
var unpackers = []struct {
	suffix string
	unpack unpacker
}{
	{".tar", tarOf(func(r io.Reader) (io.Reader, error) { return r, nil })},
	{".tgz", tarOf(gunzip)},
	{".tar.gz", tarOf(gunzip)},
	{".tbz2", tarOf(bunzip)},
	{".tar.bz2", tarOf(bunzip)},
	{".txz", tarOf(unxz)},
	{".tar.xz", tarOf(unxz)},
	{".gz", unpackGzip},
	{".zip", unpackZip},
}

func gunzip(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
func bunzip(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }
func unxz(r io.Reader) (io.Reader, error)   { return xz.NewReader(r) }

func unpackerOf(name string) unpacker {
	for _, u := range unpackers {
		if strings.HasSuffix(name, u.suffix) && name != u.suffix {
			return u.unpack
		}
	}
	return nil
}

// inside makes the name of an archive's member a path in the directory of the archive.
func inside(archive, member string) (string, error) {
	rel := path.Clean(strings.TrimLeft(member, "/"))
	if !filepath.IsLocal(rel) {
		return "", fmt.Errorf("the member %q would leave the sandbox", member)
	}
	return path.Join(path.Dir(archive), rel), nil
}

// tarOf unpacks tar archives in a coat. Set-id bits are not kept, and devices and pipes refused: a sandbox has no use for
// either.
func tarOf(uncoat func(io.Reader) (io.Reader, error)) unpacker {
	return func(ctx context.Context, b *box, name string, from *os.File) error {
		r, err := uncoat(from)
		if err != nil {
			return err
		}
		for tr := tar.NewReader(r); ; {
			h, err := tr.Next()
			if err == io.EOF {
				return nil
			}
			if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // which inside sees to
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := b.tarMember(name, h, tr); err != nil {
				return err
			}
		}
	}
}

func (b *box) tarMember(archive string, h *tar.Header, from io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	to, err := inside(archive, h.Name)
	if err != nil {
		return err
	}
	mode := os.FileMode(h.Mode) & 0o777
	switch h.Typeflag {
	case tar.TypeDir:
		if err := b.mkdirAll(to); err != nil || to == "." {
			return err
		}
		return b.root.Chmod(to, mode|0o700) // or its own content could not be put in
	case tar.TypeReg, tar.TypeRegA, tar.TypeGNUSparse: //nolint:staticcheck // old archives have the second
		if err := b.create(to, from, mode); err != nil {
			return err
		}
		if !h.ModTime.IsZero() {
			return b.root.Chtimes(to, h.ModTime, h.ModTime)
		}
		return nil
	case tar.TypeSymlink:
		return b.symlink(h.Linkname, to)
	case tar.TypeLink:
		old, err := inside(archive, h.Linkname)
		if err != nil {
			return err
		}
		if err := b.clear(to); err != nil {
			return err
		}
		return b.root.Link(old, to)
	}
	return fmt.Errorf("the member %q is neither a file, a directory nor a link", h.Name)
}

// symlink writes a link whatever it leads to: it is data here. Nothing is ever written through one that leads out, since
// the root does not follow it.
func (b *box) symlink(target, to string) error {
	if err := b.clear(to); err != nil {
		return err
	}
	if err := b.root.Symlink(target, to); err != nil {
		return err
	}
	return b.own(to)
}

// clear makes place for a member.
func (b *box) clear(to string) error {
	if err := b.mkdirAll(path.Dir(to)); err != nil {
		return err
	}
	if err := b.root.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func unpackGzip(_ context.Context, b *box, name string, from *os.File) error {
	r, err := gzip.NewReader(from)
	if err != nil {
		return err
	}
	return b.create(strings.TrimSuffix(name, ".gz"), r, 0o644)
}

func unpackZip(ctx context.Context, b *box, name string, from *os.File) error {
	st, err := from.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(from, st.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.zipMember(name, f); err != nil {
			return err
		}
	}
	return nil
}

// longestLink bounds the target of a symbolic link, as the kernel does.
const longestLink = 4096

func (b *box) zipMember(archive string, f *zip.File) error {
	to, err := inside(archive, f.Name)
	if err != nil {
		return err
	}
	mode := f.Mode()
	if mode.IsDir() {
		return b.mkdirAll(to)
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	switch {
	case mode.IsRegular():
		perm := mode.Perm()
		if perm == 0 { // made where there are no modes
			perm = 0o644
		}
		return b.create(to, r, perm)
	case mode&os.ModeSymlink != 0:
		target, err := io.ReadAll(io.LimitReader(r, longestLink))
		if err != nil {
			return err
		}
		return b.symlink(string(target), to)
	}
	return fmt.Errorf("the member %q is neither a file, a directory nor a link", f.Name)
}
