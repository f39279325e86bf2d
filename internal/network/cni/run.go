package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/pando-os/pando/internal/fault"
)

// Limits of one plugin's run.
const (
	maxOutput  = 1 << 20 // bytes that it may print
	maxExcerpt = 500     // bytes of them that an error repeats
	maxBusy    = 5       // attempts to start one that is being written
	busyPause  = 100 * time.Millisecond
	linger     = time.Second // after a kill, for its children to let go of the pipes
)

// runner starts plugins for libcni. Its own would wait for ever for a plugin's children, and takes whatever is printed.
type runner struct{ version.PluginDecoder }

var _ invoke.Exec = (*runner)(nil)

// FindInPath finds the program of a plugin.
func (*runner) FindInPath(plugin string, dirs []string) (string, error) {
	path, err := invoke.FindInPath(plugin, dirs)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no program for plugin %q in %s; install it there", plugin, strings.Join(dirs, ", "))
	}
	return path, nil
}

// ExecPlugin runs a plugin, in the network namespace of the calling thread. When ctx ends, it is killed with all that it started.
func (*runner) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	var out, words *capped
	var err error
	for range maxBusy {
		out, words = &capped{}, &capped{}
		c := exec.CommandContext(ctx, path)
		c.Env, c.Stdin, c.Stdout, c.Stderr = environ, bytes.NewReader(stdin), out, words
		c.WaitDelay = linger
		together(c)
		if err = c.Run(); err == nil || !strings.Contains(err.Error(), "text file busy") {
			break
		}
		time.Sleep(busyPause)
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it was killed when its time was over%s", said(out, words))
	case out.over:
		return nil, fmt.Errorf("it printed more than %d bytes", maxOutput)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // the latter: it ended well and left a child with its pipes
		return nil, complaint(err, out, words)
	case slices.Contains(environ, "CNI_COMMAND=ADD") && !isObject(out.b.Bytes()):
		return nil, fmt.Errorf("it printed no result%s", said(out, words))
	}
	return out.b.Bytes(), nil
}

// isObject says whether text is one object of JSON, as results are.
func isObject(text []byte) bool {
	var o map[string]json.RawMessage
	return json.Unmarshal(text, &o) == nil && o != nil
}

// complaint is the error of a plugin that failed, in its own words as far as it has any.
func complaint(err error, out, words *capped) error {
	var e types.Error
	if json.Unmarshal(out.b.Bytes(), &e) == nil && e.Msg != "" {
		return fmt.Errorf("%s (code %d, %w)", excerpt(e.Error()), e.Code, err)
	}
	return fmt.Errorf("%w%s", err, said(out, words))
}

// said repeats what a plugin printed.
func said(out, words *capped) string {
	var s strings.Builder
	for _, c := range []*capped{out, words} {
		if text := strings.TrimSpace(c.b.String()); text != "" {
			fmt.Fprintf(&s, ", saying %q", excerpt(text))
		}
	}
	return s.String()
}

func excerpt(s string) string {
	if len(s) > maxExcerpt {
		return strings.ToValidUTF8(s[:maxExcerpt], "") + "…"
	}
	return s
}

// capped keeps what is written to it up to a limit, and then makes the writer stop.
type capped struct {
	b    bytes.Buffer
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if c.b.Len()+len(p) > maxOutput {
		c.over = true
		return 0, errors.New("too much")
	}
	return c.b.Write(p)
}
