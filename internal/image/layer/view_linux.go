package layer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxLinks is the kernel's bound on the links of one path.
const maxLinks = 40

// ReadFile gives a file of no more than most bytes as an overlay of the layers, topmost first, would show it. Links lead where they
// would in a container whose root that is, and never out of it. The error is fs.ErrNotExist when there is no such file.
func ReadFile(layers []string, name string, most int64) ([]byte, error) {
	var v view
	defer func() { v.close() }() // as it is then
	for _, dir := range layers {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, errors.New("a layer of the image: " + err.Error()) // it is no fs.ErrNotExist: that would speak of the file
		}
		v = append(v, root)
	}
	root, at, err := v.find(name)
	if err != nil {
		return nil, fmt.Errorf("%s of the image: %w", name, err)
	}
	f, err := root.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s of the image has more than %d bytes", name, most)
	}
	return b, err
}

// view is layers as an overlay shows them, topmost first.
type view []*os.Root

func (v view) close() {
	for _, root := range v {
		_ = root.Close() // it was read, not written
	}
}

// place is a directory of a view: its path, and which layers have a part in it.
type place struct {
	path   string
	layers []*os.Root
}

// find walks to a file, one element at a time. Every directory on the way is one in each layer that has a part in it, so a layer's own
// links are never followed by the system.
func (v view) find(name string) (*os.Root, string, error) {
	way, todo, links := []place{{".", v}}, strings.Split(name, "/"), 0
	for len(todo) > 0 {
		part, at := todo[0], way[len(way)-1]
		switch todo = todo[1:]; part {
		case "", ".":
			continue
		case "..":
			way = way[:max(len(way)-1, 1)]
			continue
		}
		next, file, mode, err := at.step(part)
		switch {
		case err != nil:
			return nil, "", err
		case file == nil && len(next.layers) == 0, file != nil && mode.IsRegular() && len(todo) > 0:
			return nil, "", fs.ErrNotExist
		case file == nil:
			way = append(way, next)
		case mode.IsRegular():
			return file, next.path, nil
		case mode.Type() != fs.ModeSymlink:
			return nil, "", errors.New("it is no regular file")
		default:
			if links++; links > maxLinks {
				return nil, "", unix.ELOOP
			}
			to, err := file.Readlink(next.path)
			if err != nil {
				return nil, "", err
			}
			if path.IsAbs(to) {
				way = way[:1]
			}
			todo = slices.Concat(strings.Split(to, "/"), todo)
		}
	}
	return nil, "", errors.New("it is a directory")
}

// step looks for a name in a directory: another directory, or what is none and the layer that has it. Neither: there is nothing.
func (p place) step(name string) (next place, file *os.Root, mode fs.FileMode, err error) {
	next.path = path.Join(p.path, name)
	for _, root := range p.layers {
		st, err := root.Lstat(next.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return next, nil, 0, err
		}
		if !st.IsDir() {
			sys, ok := st.Sys().(*syscall.Stat_t)
			if len(next.layers) > 0 || ok && st.Mode()&fs.ModeCharDevice != 0 && hides(sys.Rdev) {
				return next, nil, 0, nil
			}
			return next, root, st.Mode(), nil
		}
		next.layers = append(next.layers, root)
		dir, err := root.Open(next.path)
		if err != nil {
			return next, nil, 0, err
		}
		last := isOpaque(int(dir.Fd()))
		if err := dir.Close(); err != nil || last {
			return next, nil, 0, err
		}
	}
	return next, nil, 0, nil
}
