package container_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pando-os/pando/internal/agent/container"
)

func TestWhatATerminalShowsBeforeAnybodyLooksIsKeptForWhoComesFirst(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"a prompt":          {"echo early; exec sleep 1000", "early\r\n"},
		"more than is kept": {"head -c 200000 /dev/zero | tr '\\0' x; echo; echo the end; exec sleep 1000", strings.Repeat("x", 64<<10-len("\r\nthe end\r\n")) + "\r\nthe end\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			cage, n := started(t)
			s := cage.spec("sh", "-c", c.script)
			s.Terminal, s.Alone = &container.Terminal{Rows: 10, Columns: 20}, true
			launch(t, n, s)
			ending := c.want[len(c.want)-7:]
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
				if b, err := os.ReadFile(filepath.Join(s.Sandbox, "stdout")); err == nil && strings.HasSuffix(string(b), ending) {
					break
				} else if time.Now().After(end) {
					t.Fatalf("its output is not there: %v", err)
				}
			}
			read := func(how string) string {
				st, err := n.Attach(t.Context(), s.ID, container.AttachOutput)
				if err != nil {
					t.Fatal(err)
				}
				defer st.Close()
				var got strings.Builder
				if how == "first" {
					for got.Len() < len(c.want) {
						_, data, err := st.Read()
						if err != nil {
							t.Fatalf("after %d bytes: %v", got.Len(), err)
						}
						got.Write(data)
					}
					return got.String()
				}
				if err := n.Kill(s.ID, 0); err != nil {
					t.Fatal(err)
				}
				for {
					_, data, err := st.Read()
					if errors.Is(err, io.EOF) {
						return got.String()
					}
					if err != nil {
						t.Fatal(err)
					}
					got.Write(data)
				}
			}
			if got := read("first"); got != c.want {
				t.Errorf("who comes first reads %d bytes, which end with %q", len(got), got[max(0, len(got)-20):])
			}
			if got := read("second"); got != "" {
				t.Errorf("who comes second reads %q", got)
			}
			await(t, n)
		})
	}
}
