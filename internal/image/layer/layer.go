// Package layer unpacks one layer of an image, a tar archive, into a directory that can be one lower layer of an overlay
// mount. It believes nothing that the archive says: whatever its names, links and sizes, nothing outside of the directory
// changes, and what it may write is bounded.
package layer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"github.com/pando-os/pando/internal/image/failure"
)

// Limits bound what one layer may become. A zero field has no limit.
type Limits struct {
	// Bytes bounds the unpacked archive, and the files made from it (a sparse file counts in full).
	Bytes int64
	// BytesSetting is the setting that the words of an error name for Bytes.
	BytesSetting string
	// Entries bounds files, directories and links, those directories included that only a longer name implies.
	Entries int
	// Ratio bounds the unpacked bytes for each packed one, once there are more than 64 MiB of the former.
	Ratio int64
}

// ratioFrom is how many unpacked bytes are too few to be a bomb, whatever they came from.
const ratioFrom = 64 << 20

// Result says what a layer became.
type Result struct {
	// Digest is the sha256 of the uncompressed archive, which images call diff_id.
	Digest string
	// Bytes are those of all files together.
	Bytes int64
	// Entries counts files, directories and links.
	Entries int
	// Opaque says that the layer hides all layers below it. An overlay does not look for that mark on the root of a layer:
	// whoever mounts leaves the layers below out.
	Opaque bool
	// Implied are directories that the archive has no entry for and that only a longer name implies, parents first. They
	// are root's with mode 0755 until Inherit gives them what the layers below say.
	Implied []string
}

// The marks of removed files (OCI image specification 1.1, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	metaPrefix     = ".wh..wh." // of the AUFS storage driver's own files; only the next one means anything to others
	opaqueMark     = ".wh..wh..opq"
)

// The bounds of a name. A longer path cannot be named in one system call inside of the container either.
const (
	maxPath  = 4095
	maxName  = 255
	maxDepth = 256 // elements; each costs a system call
	// maxNames bounds the memory for the paths of all directories, which are remembered until the end.
	maxNames = 64 << 20
)

// Unpack fills the directory dir, which exists and is empty and which nobody else touches meanwhile, with the layer that
// packed gives: a tar archive in gzip, in zstd, or as it is. Whiteouts become what an overlay mount understands. When it fails
// the directory holds a part of the layer, to be removed by the caller.
//
// Errors are of the kinds BadArchive, TooLarge (the words name the limit), NotPermitted, Canceled and Internal.
func Unpack(ctx context.Context, dir string, packed io.Reader, limits Limits) (Result, error) {
	s, err := openStream(ctx, packed, limits)
	if err != nil {
		return Result{}, err
	}
	defer s.release()
	res, err := unpack(dir, s, limits)
	if err == nil {
		// Archives are padded, and the digest is of all the bytes.
		err = s.drain()
	}
	if err != nil {
		return Result{}, classify(err)
	}
	res.Digest = s.digest()
	return res, nil
}

// classify gives a kind to what a system call or the archive's reader said.
func classify(err error) error {
	var kind failure.Kind
	switch {
	case failure.Of(err) != failure.Internal:
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return failure.New(failure.TooLarge, "the disk is full: %w; free some of it, or remove images", err)
	case errors.Is(err, fs.ErrPermission):
		return failure.New(failure.NotPermitted, "%w: unpacking needs root's rights (CAP_CHOWN, CAP_MKNOD, CAP_SETFCAP, and CAP_SYS_ADMIN for trusted.overlay marks); run the agent as root", err)
	case errors.Is(err, errArchive), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ERANGE),
		errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.EMLINK), errors.Is(err, io.ErrUnexpectedEOF):
		kind = failure.BadArchive
	}
	return failure.New(kind, "%w", err)
}

// errArchive marks what the reader of an archive or of its compression said.
var errArchive = errors.New("the archive is damaged")

// inside makes a path of the archive one below the directory: no leading slash, "." for the directory itself.
func inside(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", failure.New(failure.BadArchive, "the name %.200q has a zero byte", name)
	}
	rel := path.Clean(strings.TrimLeft(name, "/"))
	if rel == ".." || strings.HasPrefix(rel, "../") {
		return "", failure.New(failure.BadArchive, "the name %.200q would leave the layer's directory", name)
	}
	if len(rel) > maxPath {
		return "", failure.New(failure.BadArchive, "the name %.60q… has %d bytes, the limit is %d", rel, len(rel), maxPath)
	}
	if n := strings.Count(rel, "/"); n >= maxDepth {
		return "", failure.New(failure.BadArchive, "the name %.60q… is %d directories deep, the limit is %d", rel, n, maxDepth-1)
	}
	for part := range strings.SplitSeq(rel, "/") {
		if len(part) > maxName {
			return "", failure.New(failure.BadArchive, "a part of the name %.60q… has %d bytes, the limit is %d", part, len(part), maxName)
		}
	}
	return rel, nil
}

// mark says what a name asks for.
type mark uint8

const (
	plain    mark = iota // a file as it is
	ignored              // a storage driver's own
	whiteout             // removes the name
	opaque               // hides what lower layers have in the directory
)

// markOf reads the marks in the last element of a clean path: what to do, and to which path.
func markOf(rel string) (mark, string, error) {
	dir, base := path.Split(rel)
	switch {
	case base == opaqueMark:
		return opaque, path.Clean(dir), nil
	case strings.HasPrefix(base, metaPrefix), strings.HasPrefix(dir, metaPrefix), strings.Contains(dir, "/"+metaPrefix):
		return ignored, "", nil
	case strings.HasPrefix(base, whiteoutPrefix):
		hidden := strings.TrimPrefix(base, whiteoutPrefix)
		if hidden == "" || hidden == "." || hidden == ".." {
			return plain, "", failure.New(failure.BadArchive, "the whiteout %.200q removes nothing that has a name", rel)
		}
		return whiteout, dir + hidden, nil
	}
	return plain, rel, nil
}

// keepsXattr says which extended attributes of an archive are kept. The others belong to this machine: those of overlays and
// other file systems (a layer could redirect into another one with them), and labels of its security modules.
func keepsXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}
