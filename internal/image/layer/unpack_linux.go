package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/image/failure"
)

// unpacker is the state of one archive on its way to disk.
type unpacker struct {
	*tree
	in      *tar.Reader
	limits  Limits
	res     Result
	implied map[string]bool
	// Files made in a directory change its time, so those of directories come last.
	times map[string]time.Time
	names int // bytes of the paths remembered in both
	buf   []byte
}

func unpack(dir string, s *stream, limits Limits) (Result, error) {
	t, err := openTree(dir)
	if err != nil {
		return Result{}, err
	}
	defer t.close()
	u := &unpacker{tree: t, in: tar.NewReader(s), limits: limits, implied: map[string]bool{}, times: map[string]time.Time{}, buf: make([]byte, 128<<10)}
	t.made = u.imply
	for {
		h, err := u.in.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // inside sees to those
			return Result{}, damaged(err)
		}
		if err := u.entry(h); err != nil {
			return Result{}, err
		}
	}
	u.res.Implied = slices.Sorted(maps.Keys(u.implied))
	return u.res, u.setTimes()
}

// damaged marks an error of the tar reader, which has no type of its own.
func damaged(err error) error {
	if errors.Is(err, errArchive) || failure.Of(err) != failure.Internal {
		return err
	}
	return fmt.Errorf("%w: %w", errArchive, err)
}

// count takes one more entry into account.
func (u *unpacker) count() error {
	u.res.Entries++
	if limit := u.limits.Entries; limit > 0 && u.res.Entries > limit {
		return failure.New(failure.TooLarge, "the layer has more than %d files, the image store's limit MaxEntries; raise it, or make the layer smaller", limit)
	}
	return nil
}

// remember takes the memory for the path of one more directory into account.
func (u *unpacker) remember(rel string) error {
	if u.names += len(rel); u.names > maxNames {
		return failure.New(failure.TooLarge, "the names of the layer's directories have more than %d bytes together", maxNames)
	}
	return nil
}

func (u *unpacker) imply(rel string) error {
	u.implied[rel] = true
	if err := u.remember(rel); err != nil {
		return err
	}
	return u.count()
}

// entry does what one entry of the archive asks for.
func (u *unpacker) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	rel, err := inside(h.Name)
	if err != nil {
		return err
	}
	if err := u.count(); err != nil {
		return err
	}
	m, rel, err := markOf(rel)
	switch {
	case err != nil || m == ignored:
		return err
	case m == opaque:
		return u.opaque(rel)
	case m == whiteout:
		return u.whiteout(rel)
	case rel == ".":
		if h.Typeflag != tar.TypeDir {
			return failure.New(failure.BadArchive, "the archive's top, %.200q, is no directory", h.Name)
		}
		return u.attributes(h, rel, u.top, true)
	case h.Typeflag == tar.TypeDir:
		return u.directory(h, rel)
	}
	return u.file(h, rel)
}

func (u *unpacker) opaque(rel string) error {
	fd, err := u.dir(rel, true)
	if err != nil {
		return err
	}
	u.res.Opaque = u.res.Opaque || rel == "."
	return setOpaque(fd, rel)
}

// whiteout hides what lower layers have under a path. What this layer itself has there stays, whichever comes first.
func (u *unpacker) whiteout(rel string) error {
	at, name, err := u.parent(rel, true)
	if err != nil {
		return err
	}
	there, err := u.lookup(at, name, rel)
	switch {
	case err != nil:
		return err
	case there != nil && isDir(there):
		return u.opaque(rel)
	case there != nil:
		return nil
	}
	if err := makeWhiteout(at, name); err != nil {
		return fmt.Errorf("make the whiteout of %s (a character device 0:0): %w", rel, err)
	}
	return nil
}

// directory makes a directory or changes one that is there.
func (u *unpacker) directory(h *tar.Header, rel string) error {
	at, name, err := u.parent(rel, true)
	if err != nil {
		return err
	}
	there, err := u.lookup(at, name, rel)
	if err != nil {
		return err
	}
	hides := there != nil && isWhiteout(there)
	if there != nil && !isDir(there) {
		if err := u.remove(rel); err != nil {
			return err
		}
		if at, name, err = u.parent(rel, true); err != nil {
			return err
		}
		there = nil
	}
	if there == nil {
		if err := unix.Mkdirat(at, name, 0o700); err != nil {
			return fmt.Errorf("make the directory %s: %w", rel, err)
		}
	}
	fd, err := u.dir(rel, false)
	if err != nil {
		return err
	}
	delete(u.implied, rel)
	if hides {
		if err := setOpaque(fd, rel); err != nil {
			return err
		}
	}
	return u.attributes(h, rel, fd, true)
}

// file makes anything that is no directory, in the place of what is there.
func (u *unpacker) file(h *tar.Header, rel string) error {
	at, name, err := u.parent(rel, true)
	if err != nil {
		return err
	}
	there, err := u.lookup(at, name, rel)
	if err != nil {
		return err
	}
	if there != nil {
		if h.Typeflag == tar.TypeLink && u.same(h, rel) {
			return nil
		}
		u.forgetBelow(rel)
		if err := u.remove(rel); err != nil {
			return err
		}
		if at, name, err = u.parent(rel, true); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return u.regular(h, rel, at, name)
	case tar.TypeLink:
		return u.link(h, rel)
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0) {
			return failure.New(failure.BadArchive, "the symbolic link %.200q has an empty target or one of more than %d bytes", rel, maxPath)
		}
		if err := unix.Symlinkat(h.Linkname, at, name); err != nil {
			return fmt.Errorf("make the symbolic link %s: %w", rel, err)
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if err := mknod(h, at, name); err != nil {
			return fmt.Errorf("make the device or pipe %s: %w", rel, err)
		}
	default:
		return failure.New(failure.BadArchive, "the entry %.200q is of the unknown type %q", rel, h.Typeflag)
	}
	return u.special(h, rel, at, name)
}

// forgetBelow drops what is remembered of a directory that is about to be replaced, and of those in it.
func (u *unpacker) forgetBelow(rel string) {
	below := func(p string) bool { return p == rel || strings.HasPrefix(p, rel+"/") }
	maps.DeleteFunc(u.implied, func(p string, _ bool) bool { return below(p) })
	maps.DeleteFunc(u.times, func(p string, _ time.Time) bool { return below(p) })
}

// same says whether a hard link names itself.
func (u *unpacker) same(h *tar.Header, rel string) bool {
	target, err := inside(h.Linkname)
	return err == nil && target == rel
}

// regular writes one file with its contents.
func (u *unpacker) regular(h *tar.Header, rel string, at int, name string) error {
	if limit := u.limits.Bytes; limit > 0 && h.Size > limit-u.res.Bytes {
		return tooLong(u.limits)
	}
	fd, err := unix.Openat(at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make %s: %w", rel, err)
	}
	defer unix.Close(fd)
	n, err := io.CopyBuffer(fdWriter(fd), struct{ io.Reader }{u.in}, u.buf)
	u.res.Bytes += n
	if err != nil {
		return fmt.Errorf("write %s: %w", rel, damagedRead(err))
	}
	if err := u.attributes(h, rel, fd, false); err != nil {
		return err
	}
	return setTime(at, name, rel, h.ModTime)
}

// damagedRead marks an error that came from the archive and not from the disk.
func damagedRead(err error) error {
	if _, ok := errors.AsType[unix.Errno](err); ok {
		return err
	}
	return damaged(err)
}

// fdWriter writes to a descriptor that stays ours.
type fdWriter int

func (w fdWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(w), p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// link makes a hard link to a file that this layer brought before. A symbolic link is linked itself, not followed.
func (u *unpacker) link(h *tar.Header, rel string) error {
	target, err := inside(h.Linkname)
	if err != nil {
		return err
	}
	from, base, err := u.parent(target, false)
	if err != nil {
		return failure.Wrap(failure.BadArchive, err, "the hard link %.200q to %.200q", rel, h.Linkname)
	}
	there, err := u.lookup(from, base, target)
	if err != nil {
		return err
	}
	if there == nil || isDir(there) || target == "." {
		return failure.New(failure.BadArchive, "the hard link %.200q is to %.200q, which is no file of the same layer", rel, h.Linkname)
	}
	from, err = unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 0) // walking to the link itself closes it
	if err != nil {
		return fmt.Errorf("link %s: %w", rel, err)
	}
	defer unix.Close(from)
	at, name, err := u.parent(rel, true)
	if err != nil {
		return err
	}
	if err := unix.Linkat(from, base, at, name, 0); err != nil {
		return fmt.Errorf("link %s to %s: %w", rel, target, err)
	}
	return nil
}

func mknod(h *tar.Header, at int, name string) error {
	kind, device := uint32(unix.S_IFIFO), 0
	if h.Typeflag != tar.TypeFifo {
		if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor >= 1<<32 || h.Devminor >= 1<<32 {
			return failure.New(failure.BadArchive, "no device has the numbers %d:%d", h.Devmajor, h.Devminor)
		}
		device = int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
		kind = unix.S_IFCHR
		if h.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
	}
	return unix.Mknodat(at, name, kind, device)
}

// mode gives the permission bits of an entry, set-id and sticky bits included.
func mode(h *tar.Header) uint32 { return uint32(h.Mode) & 0o7777 }

// owner refuses ids that the kernel would take for "leave it as it is", or cut off.
func owner(h *tar.Header, rel string) error {
	const limit = 1<<32 - 2
	if h.Uid < 0 || h.Gid < 0 || h.Uid > limit || h.Gid > limit {
		return failure.New(failure.BadArchive, "the owner %d:%d of %.200q is none that a file can have", h.Uid, h.Gid, rel)
	}
	return nil
}

// attributes sets owner, mode and extended attributes of an open file or directory. The order matters: a change of owner takes
// away set-id bits and capabilities.
func (u *unpacker) attributes(h *tar.Header, rel string, fd int, directory bool) error {
	if err := owner(h, rel); err != nil {
		return err
	}
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return fmt.Errorf("give %s to %d:%d: %w", rel, h.Uid, h.Gid, err)
	}
	if err := unix.Fchmod(fd, mode(h)); err != nil {
		return fmt.Errorf("set the mode of %s: %w", rel, err)
	}
	for name, value := range xattrs(h) {
		err := unix.Fsetxattr(fd, name, []byte(value), 0)
		if errors.Is(err, unix.EOPNOTSUPP) && strings.HasPrefix(name, "user.") {
			continue // nobody's rights depend on them, and some file systems have none
		}
		if err != nil {
			return fmt.Errorf("set %s of %s: %w", name, rel, err)
		}
	}
	if !directory {
		return nil
	}
	u.times[rel] = h.ModTime
	return u.remember(rel)
}

// special sets what a link, device or pipe can have.
func (u *unpacker) special(h *tar.Header, rel string, at int, name string) error {
	if err := owner(h, rel); err != nil {
		return err
	}
	if err := unix.Fchownat(at, name, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("give %s to %d:%d: %w", rel, h.Uid, h.Gid, err)
	}
	if h.Typeflag != tar.TypeSymlink { // a link has no mode; nobody else changes the directory, so it is still no link
		if err := unix.Fchmodat(at, name, mode(h), 0); err != nil {
			return fmt.Errorf("set the mode of %s: %w", rel, err)
		}
	}
	for xattr, value := range xattrs(h) {
		if strings.HasPrefix(xattr, "user.") { // the kernel has these for files and directories alone
			continue
		}
		if err := unix.Lsetxattr(below(at, name), xattr, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s of %s: %w", xattr, rel, err)
		}
	}
	return setTime(at, name, rel, h.ModTime)
}

// xattrs gives the extended attributes to keep, from the records that star, GNU tar and Docker write.
func xattrs(h *tar.Header) map[string]string {
	var out map[string]string
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok || !keepsXattr(name) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out
}

func setTime(at int, name, rel string, mtime time.Time) error {
	ts, err := unix.TimeToTimespec(mtime)
	if err != nil {
		return failure.New(failure.BadArchive, "the time of %.200q is none that a file can have: %v", rel, err)
	}
	if err := unix.UtimesNanoAt(at, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set the time of %s: %w", rel, err)
	}
	return nil
}

// setTimes gives the directories their times, the deepest first.
func (u *unpacker) setTimes() error {
	for _, rel := range slices.Backward(slices.Sorted(maps.Keys(u.times))) {
		if err := u.setDirTime(rel, u.times[rel]); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) setDirTime(rel string, mtime time.Time) error {
	if rel == "." {
		return setTime(u.top, ".", rel, mtime)
	}
	at, name, err := u.parent(rel, false)
	if err != nil {
		return err
	}
	return setTime(at, name, rel, mtime)
}

// Inherit gives the implied directories of an unpacked layer the owner, mode and time that the layers below have for them,
// topmost first: an overlay shows the attributes of the topmost directory, and the archive said nothing about them. Layers below
// one that hides them are to be left out.
func Inherit(dir string, implied, lower []string) error {
	if len(implied) == 0 || len(lower) == 0 {
		return nil
	}
	t, err := openTree(dir)
	if err != nil {
		return classify(err)
	}
	defer t.close()
	below := make([]*tree, 0, len(lower))
	defer func() {
		for _, l := range below {
			l.close()
		}
	}()
	for _, l := range lower {
		lt, err := openTree(l)
		if err != nil {
			return classify(err)
		}
		below = append(below, lt)
	}
	for _, rel := range slices.Backward(slices.Sorted(slices.Values(implied))) {
		if err := inherit(t, below, rel); err != nil {
			return classify(err)
		}
	}
	return nil
}

func inherit(t *tree, lower []*tree, rel string) error {
	if hidden(t, rel) {
		return nil
	}
	for _, l := range lower {
		st, last := find(l, rel)
		if st != nil {
			at, name, err := t.parent(rel, false)
			if err != nil {
				return err
			}
			return copyAttributes(at, name, rel, st)
		}
		if last {
			return nil
		}
	}
	return nil
}

// hidden says whether this layer itself hides the lower ones' directory.
func hidden(t *tree, rel string) bool {
	for p := rel; p != "."; p = path.Dir(p) {
		fd, err := t.dir(p, false)
		if err != nil {
			return true
		}
		if isOpaque(fd) {
			return true
		}
	}
	return false
}

func isOpaque(fd int) bool {
	for _, name := range []string{opaqueXattr, opaqueWithin} {
		var b [1]byte
		if n, err := unix.Fgetxattr(fd, name, b[:]); err == nil && n == 1 && b[0] == 'y' {
			return true
		}
	}
	return false
}

// find looks for a directory in one lower layer. last says that the layers below it do not count: this one has another thing
// there, removed it, or hides them.
func find(l *tree, rel string) (st *unix.Stat_t, last bool) {
	at := "."
	for part := range strings.SplitSeq(rel, "/") {
		fd, err := l.dir(at, false)
		if err != nil {
			return nil, true
		}
		last = last || (at != "." && isOpaque(fd))
		at = path.Join(at, part)
		st, err = l.lookup(fd, part, at)
		switch {
		case err != nil:
			return nil, true
		case st == nil:
			return nil, last
		case !isDir(st):
			return nil, true
		}
	}
	return st, last
}

func copyAttributes(at int, name, rel string, st *unix.Stat_t) error {
	fd, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", rel, err)
	}
	defer unix.Close(fd)
	if err := unix.Fchown(fd, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("give %s to %d:%d: %w", rel, st.Uid, st.Gid, err)
	}
	if err := unix.Fchmod(fd, st.Mode&0o7777); err != nil {
		return fmt.Errorf("set the mode of %s: %w", rel, err)
	}
	return setTime(at, name, rel, time.Unix(st.Mtim.Unix()))
}
