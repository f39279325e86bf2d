package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pando-os/pando/internal/host"
)

// pull brings an image to a node, unpacked, and beside it does so with skopeo and umoci.
func pull(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("pull", flag.ExitOnError)
	size := f.Int("size", 200, "megabytes of the image's files")
	runs := f.Int("runs", 5, "how often")
	_ = f.Parse(args) // it exits
	dir, err := os.MkdirTemp("", "pando-images-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is a temporary one
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	addr := server.Listener.Addr().String()
	packed, err := pushLarge(addr, *size)
	if err != nil {
		return err
	}
	n := newNode(dir, "--plain-registries", addr)
	if err := n.start(ctx); err != nil {
		return err
	}
	defer n.end()
	var ours, cpu, theirs []float64
	for i := range *runs {
		if err := pando(ctx, "image", "prune"); err != nil && i > 0 {
			return err
		}
		begun, before := time.Now(), host.CPUTime(n.cmd.Process.Pid)
		if err := pando(ctx, "image", "pull", addr+"/large:1"); err != nil {
			return err
		}
		ours, cpu = append(ours, time.Since(begun).Seconds()), append(cpu, (host.CPUTime(n.cmd.Process.Pid)-before).Seconds())
		took, err := byOthers(ctx, filepath.Join(dir, fmt.Sprint("oci", i)), addr)
		if err != nil {
			return err
		}
		theirs = append(theirs, took.Seconds())
		if err := pando(ctx, "image", "rm", addr+"/large:1"); err != nil {
			return err
		}
	}
	return show(map[string]any{
		"files_mb": *size, "packed_mb": packed / 1e6, "pando_s": median(ours), "pando_cpu_s": median(cpu), "skopeo_umoci_s": median(theirs),
		"ratio": median(ours) / median(theirs), "all": map[string]any{"pando": ours, "skopeo_umoci": theirs},
	})
}

// byOthers copies the image with skopeo and unpacks it with umoci.
func byOthers(ctx context.Context, dir, addr string) (time.Duration, error) {
	begun := time.Now()
	for _, c := range [][]string{
		{"skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://" + addr + "/large:1", "oci:" + dir + ":1"},
		{"umoci", "unpack", "--image", dir + ":1", dir + "-bundle"},
	} {
		if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%v: %w: %s", c, err, out)
		}
	}
	took := time.Since(begun)
	return took, errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+"-bundle"))
}

// pushLarge makes an image of five layers of files that shrink by about half, as programs do, and gives the bytes that are pulled.
func pushLarge(addr string, mb int) (packed float64, err error) {
	r := rand.New(rand.NewPCG(1, 2))
	var archives [][]byte
	const layers, fileBytes = 5, 64 << 10
	for l := range layers {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range mb * 1e6 / layers / fileBytes {
			content := make([]byte, fileBytes)
			for j := range fileBytes / 2 {
				content[j] = byte(r.Uint32())
			}
			if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("files/%d/%d/%d", l, i/100, i), Mode: 0o644, Size: fileBytes}); err != nil {
				return 0, err
			}
			if _, err := w.Write(content); err != nil {
				return 0, err
			}
		}
		if err := w.Close(); err != nil {
			return 0, err
		}
		archives = append(archives, b.Bytes())
	}
	im, err := imageOf(archives...)
	if err != nil {
		return 0, err
	}
	ref, err := name.ParseReference(addr+"/large:1", name.Insecure)
	if err != nil {
		return 0, err
	}
	m, err := im.Manifest()
	if err != nil {
		return 0, err
	}
	for _, l := range m.Layers {
		packed += float64(l.Size)
	}
	return packed, remote.Write(ref, im)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func get(url string) (string, error) {
	res, err := http.Get(url) //nolint:gosec // of a node on this machine
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}
