package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/internal/host"
)

// crowd runs many containers of an image at once, tells how long that took and what it costs while they do nothing, and kills the node
// under them.
func crowd(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("crowd", flag.ExitOnError)
	tasks := f.Int("tasks", 1000, "containers")
	network := f.String("network", "", "network of each, as mesos-bridge; empty: the machine's")
	hold := f.Duration("hold", time.Minute, "how long they are watched")
	_ = f.Parse(args) // it exits
	dir, err := os.MkdirTemp("", "pando-images-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is a temporary one
	archive := filepath.Join(dir, "image.tar")
	if err := saveShell(archive); err != nil {
		return err
	}
	n := newNode(dir)
	if err := n.start(ctx); err != nil {
		return err
	}
	defer n.end()
	if err := pando(ctx, "image", "load", archive); err != nil {
		return err
	}
	c := &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), Mesos: &mesosv1.ContainerInfo_MesosInfo{
		Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: new(imageName)}},
	}}
	if *network != "" {
		c.NetworkInfos = []*mesosv1.NetworkInfo{{Name: network}}
	}
	l := &fleet.Load{
		Masters: []string{master}, Tasks: *tasks, Stay: true, Connections: 2, CPUs: 0.001, Mem: 32, Failover: time.Minute,
		Command: "exec sleep 100000", Container: c,
	}
	l.Prepare()
	loading, cancel := context.WithCancel(ctx)
	defer cancel()
	end := make(chan error, 1)
	begun := time.Now()
	go func() { end <- l.Run(loading) }()
	select {
	case <-l.Full():
	case err := <-end:
		return err
	}
	all := time.Since(begun)
	if bad := l.Failed.Load() + l.Killed.Load() + l.Lost.Load(); bad > 0 {
		return fmt.Errorf("%d tasks did not run", bad)
	}
	figures := map[string]any{"tasks": *tasks, "network": *network, "all_running_s": all.Seconds()}
	time.Sleep(5 * time.Second)
	cpu, watched := host.CPUTime(n.cmd.Process.Pid), time.Now()
	time.Sleep(*hold)
	figures["node_cpu_percent"] = 100 * (host.CPUTime(n.cmd.Process.Pid) - cpu).Seconds() / time.Since(watched).Seconds()
	figures["node_rss_mib"] = float64(host.Resident(n.cmd.Process.Pid)) / (1 << 20)
	figures["supervisors_pss_kib_each"] = supervisors() / float64(*tasks)
	if err := comeback(ctx, n, l, figures); err != nil {
		return err
	}
	cancel()
	if err := <-end; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return show(figures)
}

// comeback kills the node under its containers, starts it again, and tells how long it took to have all of them.
func comeback(ctx context.Context, n *node, l *fleet.Load, figures map[string]any) error {
	before := sleepers()
	if err := n.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_ = n.cmd.Wait() // it was killed
	subscriptions := l.Subscriptions.Load()
	begun := time.Now()
	if err := n.start(ctx); err != nil {
		return err
	}
	figures["restart_ready_s"] = time.Since(begun).Seconds()
	err := within(ctx, time.Minute, "the tasks to be known again", func() bool {
		return l.Subscriptions.Load() > subscriptions && running() == l.Tasks
	})
	figures["restart_all_known_s"] = time.Since(begun).Seconds()
	after := sleepers()
	figures["lost"] = len(before) + int(l.Lost.Load()+l.Failed.Load()+l.Killed.Load())
	for pid := range after {
		if before[pid] {
			figures["lost"] = figures["lost"].(int) - 1
		}
	}
	return err
}

const imageName = "bench/shell:1"

// saveShell makes an archive of an image that is a shell.
func saveShell(path string) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("the image is made of Debian's busybox-static: %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = errors.Join(
		w.WriteHeader(&tar.Header{Name: "bin/", Mode: 0o755, Typeflag: tar.TypeDir}),
		w.WriteHeader(&tar.Header{Name: "bin/sh", Linkname: "busybox", Typeflag: tar.TypeSymlink}),
		w.WriteHeader(&tar.Header{Name: "bin/sleep", Linkname: "busybox", Typeflag: tar.TypeSymlink}),
		w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox))}),
	)
	if _, werr := w.Write(busybox); err == nil {
		err = errors.Join(werr, w.Close())
	}
	if err != nil {
		return err
	}
	im, err := imageOf(b.Bytes())
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(imageName)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(path, ref, im)
}

// imageOf makes an image of layers, each an archive.
func imageOf(archives ...[]byte) (v1.Image, error) {
	im := empty.Image
	for _, a := range archives {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a)), nil })
		if err != nil {
			return nil, err
		}
		if im, err = mutate.AppendLayers(im, layer); err != nil {
			return nil, err
		}
	}
	c, err := im.ConfigFile()
	if err != nil {
		return nil, err
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", "amd64"
	return mutate.ConfigFile(im, c)
}

// sleepers are the processes of the tasks.
func sleepers() map[int]bool {
	pids := map[int]bool{}
	eachProcess(func(pid int, dir string) {
		if b, err := os.ReadFile(dir + "/cmdline"); err == nil && string(b) == "sleep\x00100000\x00" {
			pids[pid] = true
		}
	})
	return pids
}

// running is how many tasks the master says run.
func running() int {
	b, err := get("http://" + master + "/metrics/snapshot")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(b, `"master/tasks_running":`)
	n, _, _ := strings.Cut(rest, ",")
	v, _ := strconv.ParseFloat(strings.Trim(n, "}"), 64) // else 0
	return int(v)
}

// supervisors is the memory of all launchers in KiB, shared pages divided among those who share them.
func supervisors() (kib float64) {
	eachProcess(func(_ int, dir string) {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil || !strings.HasPrefix(exe, "/memfd:pando-launcher") {
			return
		}
		b, _ := os.ReadFile(dir + "/smaps_rollup") // it may be gone
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "Pss:"); ok {
				n, _ := strconv.ParseFloat(strings.Fields(v)[0], 64) // the kernel's own number
				kib += n
			}
		}
	})
	return kib
}

func eachProcess(do func(pid int, dir string)) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			do(pid, d)
		}
	}
}
