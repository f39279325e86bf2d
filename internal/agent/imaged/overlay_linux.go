package imaged

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tryOverlay says why there can be no overlay with its upper directory in dir. The mount is made and put nowhere. A kernel that has no
// such calls (before 5.2) is believed to be able: what it cannot do, the first launch says.
func tryOverlay(dir string) (err error) {
	probe, err := os.MkdirTemp(dir, "probe-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(probe)) }()
	root, err := unix.Open(probe, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	at := "/proc/self/fd/" + strconv.Itoa(root) + "/" // a path among a mount's options has characters that mean something
	options := [][2]string{{"lowerdir", at + "lower"}, {"upperdir", at + "upper"}, {"workdir", at + "work"}}
	for _, o := range options {
		if err := os.Mkdir(filepath.Join(probe, filepath.Base(o[1])), 0o755); err != nil {
			return err
		}
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open overlayfs: %w", err)
	}
	defer unix.Close(fs)
	for _, o := range options {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return fmt.Errorf("%s: %w%s", o[0], err, said(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("mount an overlay: %w%s", err, said(fs))
	}
	return nil
}

// said is what the kernel says to a mount that it refuses.
func said(fs int) string {
	var out strings.Builder
	for b := make([]byte, 1024); ; {
		n, err := unix.Read(fs, b)
		if err != nil || n <= 0 {
			return out.String()
		}
		out.WriteString("; " + strings.TrimSpace(string(b[:n])))
	}
}
