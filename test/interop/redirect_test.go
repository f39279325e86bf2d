package interop

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program starts a program that runs until the test ends; what it said is shown when the test failed.
func program(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // it is told to end
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s does not stop", name)
			_ = cmd.Process.Kill() // as above
			<-ended
		}
		if said, err := os.ReadFile(out.Name()); err == nil && t.Failed() {
			t.Logf("%s %s said:\n%s", name, strings.Join(args, " "), said)
		}
	})
}

// status asks a master for its state and follows nothing; 0 when it does not answer.
func status(master string) int {
	c := &http.Client{Timeout: time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := c.Get("http://" + master + "/state")
	if err != nil {
		return 0
	}
	_ = r.Body.Close() // only the status counts
	return r.StatusCode
}

// TestAnUnmodifiedClientFollowsTheRedirect gives a client the address of a master that does not lead.
func TestAnUnmodifiedClientFollowsTheRedirect(t *testing.T) {
	interop(t)
	need(t, "etcd")
	bin, dir, ports := pando(t), directory(t), freePorts(t, 5)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	program(t, "etcd", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", "http://"+at(0), "--advertise-client-urls", "http://"+at(0),
		"--listen-peer-urls", "http://"+at(1), "--initial-advertise-peer-urls", "http://"+at(1), "--initial-cluster", "default=http://"+at(1))
	if !await(20*time.Second, func() bool {
		conn, err := net.Dial("tcp", at(0))
		return err == nil && conn.Close() == nil
	}) {
		t.Fatal("etcd does not listen")
	}
	for _, i := range []int{2, 3} {
		program(t, bin, "master", "--data-dir", filepath.Join(dir, fmt.Sprint("master", i)), "--store", "etcd://"+at(0), "--master-port", fmt.Sprint(ports[i]), "--hostname", "localhost")
		lead, want := i, http.StatusOK
		if i == 3 {
			want = http.StatusTemporaryRedirect
		}
		if !await(20*time.Second, func() bool { return status(at(lead)) == want }) {
			t.Fatalf("the master answers %d, want %d", status(at(lead)), want)
		}
	}
	program(t, bin, "agent", "--data-dir", filepath.Join(dir, "agent"), "--runtime-dir", filepath.Join(dir, "run"), "--agent-port", fmt.Sprint(ports[4]), "--master", at(3))
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			cmd := c.install(t)
			cmd.Args = append(cmd.Args, at(3))
			if out, err := within(t, clientTime, cmd); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			ended(t, cluster{Master: at(2)}, c.framework)
		})
	}
}
