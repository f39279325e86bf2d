// Package interop holds what strangers say of Pando: clients of Apache Mesos that nobody changed, the classes its authors
// generated, and the answers it was recorded giving. All of it is asked of a real bin/pando. `make interop` and `make golden`
// run it; a plain go test skips it, since it needs other languages and, the first time, a network.
package interop

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Environment variables that say what to run.
const (
	runClients = "PANDO_TEST_INTEROP" // anything: the clients and the classes
	runGolden  = "PANDO_TEST_GOLDEN"  // the directory of the recorded answers
	onlyGolden = "PANDO_GOLDEN_ONLY"  // globs of recorded cases, with commas between; empty: the usual ones
)

// recordedFlags are what the original ran with when it was recorded.
var recordedFlags = []string{
	"--resources=cpus:4;mem:4096;disk:10000;ports:[31000-32000]", "--attributes=rack:r1;zone:z1;level:10",
	"--hostname=localhost", "--allocation-interval=500ms",
}

// cluster is a cluster of one on free ports of loopback.
type cluster struct {
	Master string `json:"master"` // host:port
	Agent  string `json:"agent"`  // host:port
}

func pando(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs("../../bin/pando")
	if err == nil {
		_, err = os.Stat(bin)
	}
	if err != nil {
		t.Fatalf("%v: make build", err)
	}
	return bin
}

// directory is an empty directory that every user may pass through, since tasks run below it. Its path is short enough for
// sockets.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pando-interop.") //nolint:usetesting // t.TempDir is closed to other users and too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what stays is in the system's temporary directory
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts a fresh cluster, which ends with the test, and its tasks before it.
func start(t *testing.T, flags ...string) cluster {
	t.Helper()
	bin, dir := pando(t), directory(t)
	data := filepath.Join(dir, "node")
	up := append([]string{"up", "--detach", "--data-dir", data, "--runtime-dir", filepath.Join(dir, "run"), "--master-port=0", "--agent-port=0"}, flags...)
	if out, err := exec.CommandContext(t.Context(), bin, up...).CombinedOutput(); err != nil {
		t.Fatalf("pando up: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(bin, "down", "--kill-tasks", "--data-dir", data).CombinedOutput(); err != nil {
			t.Errorf("pando down --kill-tasks: %v\n%s", err, out)
			_ = exec.Command(bin, "down", "--data-dir", data).Run() // it has been reported
		}
		if log, err := os.ReadFile(filepath.Join(data, "pando.log")); err == nil && t.Failed() {
			t.Logf("the node's log:\n%s", log)
		}
	})
	out, err := exec.CommandContext(t.Context(), bin, "status", "-o", "json", "--data-dir", data).Output()
	if err != nil {
		t.Fatalf("pando status: %v", err)
	}
	var c cluster
	if err := json.Unmarshal(out, &c); err != nil || c.Master == "" || c.Agent == "" {
		t.Fatalf("pando status said %s (%v)", out, err)
	}
	return c
}

// ask reads JSON from a v0 endpoint.
func ask(t *testing.T, url string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}
