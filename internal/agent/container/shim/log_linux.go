package shim

import (
	"bytes"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// logFile is one output of a container in its sandbox, rotated by size: stdout, then stdout.1 and so on, the highest the
// oldest. The sandbox belongs to the task's user, who may put anything under these names, so nothing here follows a link
// or trusts what is already there.
type logFile struct {
	dir      int // descriptor of the sandbox; owned by the box
	name     string
	uid, gid int // owner of new files; -1: who the shim is
	max      int64
	keep     int64

	fd   int
	size int64
	lost int64 // bytes the disk did not take; said in the file once it takes some again
}

// open starts the file, or goes on behind what a fetched file of that name holds.
func (l *logFile) open() error {
	fd, err := unix.Openat(l.dir, l.name, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o644)
	if err == nil {
		l.fd, l.size = fd, 0
		if l.uid >= 0 {
			_ = unix.Fchown(fd, l.uid, l.gid) // the task can read it all the same
		}
		return nil
	}
	if err != unix.EEXIST {
		return err
	}
	fd, err = unix.Openat(l.dir, l.name, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink > 1 {
		unix.Close(fd)
		return unix.EEXIST
	}
	l.fd, l.size = fd, st.Size
	return nil
}

// write appends, rotating whenever the next bytes would pass the limit; a line is kept whole where it fits in a file.
func (l *logFile) write(b []byte) {
	for len(b) > 0 {
		n := len(b)
		if room := l.max - l.size; l.max > 0 && int64(n) > room {
			n = int(max(room, 0))
			if cut := bytes.LastIndexByte(b[:n], '\n'); cut >= 0 {
				n = cut + 1
			} else if l.size > 0 && bytes.IndexByte(b, '\n') >= 0 && int64(bytes.IndexByte(b, '\n')) < l.max {
				n = 0
			}
			if n == 0 {
				l.rotate()
				continue
			}
		}
		l.put(b[:n])
		b = b[n:]
	}
}

// put writes all of b or counts it as lost: a full disk must not stop the task, whose pipe would fill up behind us.
func (l *logFile) put(b []byte) {
	l.size += int64(len(b))
	if l.fd < 0 {
		l.lost += int64(len(b))
		return
	}
	if l.lost > 0 {
		if _, err := unix.Write(l.fd, []byte("[pando: "+strconv.FormatInt(l.lost, 10)+" bytes of output were lost: the disk did not take them]\n")); err == nil {
			l.lost = 0
		}
	}
	for len(b) > 0 {
		n, err := unix.Write(l.fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			l.lost += int64(len(b))
			return
		}
		b = b[n:]
	}
}

// rotate shifts the names and starts a new file.
func (l *logFile) rotate() {
	unix.Close(l.fd)
	l.fd, l.size = -1, 0
	name := func(i int64) string {
		if i == 0 {
			return l.name
		}
		return l.name + "." + strconv.FormatInt(i, 10)
	}
	if l.keep <= 0 {
		_ = unix.Unlinkat(l.dir, l.name, 0) // of one that stays the open below tells
	}
	for i := l.keep; i > 0; i-- {
		_ = unix.Renameat(l.dir, name(i-1), l.dir, name(i)) // there may not be so many yet
	}
	if l.open() != nil { // the task was faster with a file of that name
		_ = unix.Unlinkat(l.dir, l.name, 0) // of one that stays the open below tells
		_ = l.open()                        // what then has no file is counted as lost
	}
}

func (l *logFile) close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
		l.fd = -1
	}
}

// buffers are shared by all copiers, since most outputs are silent most of the time.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copyOut moves what comes out of a pipe into a file until every writer has closed it or the read deadline passes. It
// takes a buffer only once there is something to read.
func copyOut(pipe *os.File, to *logFile) {
	defer to.close()
	defer pipe.Close()
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	for {
		end := false
		err := raw.Read(func(fd uintptr) bool {
			buf := buffers.Get().(*[32 << 10]byte)
			defer buffers.Put(buf)
			for {
				n, err := unix.Read(int(fd), buf[:])
				switch {
				case err == unix.EINTR:
					continue
				case err == unix.EAGAIN:
					return false
				case err != nil || n == 0:
					end = true
				default:
					to.write(buf[:n])
				}
				return true
			}
		})
		if err != nil || end {
			return
		}
	}
}
