package e2e

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/gen/mesosv1"
)

// withURIs gives a task files to fetch.
func withURIs(t *mesosv1.TaskInfo, uris ...*mesosv1.CommandInfo_URI) *mesosv1.TaskInfo {
	t.Command.Uris = uris
	return t
}

func TestATaskThatCannotRunSaysWhy(t *testing.T) {
	need(t, true)
	var slip bytes.Buffer
	z := zip.NewWriter(&slip)
	w, err := z.Create("../../slipped")
	must(t, err)
	_, err = w.Write([]byte("out"))
	must(t, err)
	must(t, z.Close())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slip.zip":
			_, _ = w.Write(slip.Bytes()) // who is gone needs nothing
		case "/bad.tar.gz":
			_, _ = w.Write([]byte("this is no archive"))
		case "/short":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	refusing := "http://" + closed.Addr().String() + "/file"
	must(t, closed.Close())
	uri := func(value string) *mesosv1.CommandInfo_URI { return &mesosv1.CommandInfo_URI{Value: &value} }
	rlimit := func(x *mesosv1.TaskInfo, n uint64) *mesosv1.TaskInfo {
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), RlimitInfo: &mesosv1.RLimitInfo{Rlimits: []*mesosv1.RLimitInfo_RLimit{
			{Type: mesosv1.RLimitInfo_RLimit_RLMT_NOFILE.Enum(), Soft: &n, Hard: &n},
		}}}
		return x
	}
	exec := func(x *mesosv1.TaskInfo, path string) *mesosv1.TaskInfo {
		x.Command.Shell, x.Command.Value = new(false), &path
		return x
	}

	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	const (
		launch  = mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED
		memory  = mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY
		ran     = mesosv1.TaskStatus_REASON_COMMAND_EXECUTOR_FAILED
		nobodys = mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED // as the original has it for a user that is unknown
	)
	for name, c := range map[string]struct {
		task   *mesosv1.TaskInfo
		reason mesosv1.TaskStatus_Reason
		says   []string
	}{
		"a file that is not there":           {withURIs(task("t1", "true"), uri(server.URL+"/none")), launch, []string{server.URL + "/none", "404"}},
		"a server that refuses":              {withURIs(task("t2", "true"), uri(refusing)), launch, []string{refusing, "refused"}},
		"an archive that is none":            {withURIs(task("t3", "true"), uri(server.URL+"/bad.tar.gz")), launch, []string{"bad.tar.gz"}},
		"an archive that leads out":          {withURIs(task("t4", "true"), uri(server.URL+"/slip.zip")), launch, []string{"slip.zip", "slipped"}},
		"a body that breaks off":             {withURIs(task("t5", "true"), uri(server.URL+"/short")), launch, []string{"/short"}},
		"a file of the machine that is none": {withURIs(task("t6", "true"), uri("file:///no/such/file")), launch, []string{"/no/such/file"}},
		"an output file that leads out":      {withURIs(task("t7", "true"), &mesosv1.CommandInfo_URI{Value: new(server.URL + "/x"), OutputFile: new("../out")}), launch, []string{"output_file", "../out"}},
		"a user that is unknown":             {withUser(task("t8", "true"), "no-such-user"), nobodys, []string{"no-such-user", "create it"}},
		"a limit above the hard one":         {rlimit(task("t9", "true"), 1<<40), launch, []string{"RLIMIT_NOFILE"}},
		"a command that is not there":        {exec(task("t10", ""), "/no/such/command"), ran, []string{"status 1"}},
		"more memory than it has":            {task("t11", "head -c 300m /dev/zero | tail"), memory, []string{"emory"}},
		"a command whose exit code is not 0": {task("t12", "exit 7"), ran, []string{"7"}},
		"a command that a signal ended":      {task("t13", "kill -SEGV $$"), ran, []string{"Segmentation fault"}},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, f.accept(c.task))
			s := f.end(c.task.GetTaskId().GetValue())
			want := failed
			if c.reason == nobodys {
				want = lost
			}
			if s.GetState() != want || s.GetReason() != c.reason {
				t.Errorf("%s %s, want %s %s: %s", s.GetState(), s.GetReason(), want, c.reason, s.GetMessage())
			}
			for _, w := range c.says {
				if !strings.Contains(s.GetMessage(), w) {
					t.Errorf("%q is missing in: %s", w, s.GetMessage())
				}
			}
		})
	}
	err = filepath.WalkDir(n.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), "slipped") {
			t.Errorf("the archive wrote %s", path)
		}
		return nil
	})
	must(t, err)
}

// mount puts a small tmpfs on a directory for the length of the test.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o711))
	must(t, unix.Mount("pando-e2e", dir, "tmpfs", 0, options))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("a mount stays: %v", err)
		}
	})
}

func TestAFullDiskEndsTheAgentWithAWordAndLosesNoTask(t *testing.T) {
	need(t, true)
	master := newNode(t, "master")
	master.start()
	small, full := fresh(), fresh()
	mount(t, small, "size=12m,mode=0711")
	n := newNode(t, "agent", "--master", master.master, "--data-dir", small)
	n.place = small
	n.start()
	f := subscribe(t, master.master)
	f.launch(task("steady-disk", "exec sleep 600"), task("ends-while-full", waitFor(full, 0)))
	// The last page of the journal has room for some ends yet, but not for so many.
	var crowd []*mesosv1.TaskInfo
	for _, id := range ids("crowd", 40) {
		crowd = append(crowd, task(id, waitFor(full, 0)))
		crowd[len(crowd)-1].Resources[0].Scalar.Value = new(0.01)
	}
	f.launch(crowd...)
	ran := processesOf(t)

	f.launch(task("filler", "echo begun; sleep 0.2; head -c 100m /dev/zero > fill; echo wrote $?; sync; exit 5"))
	eventually(t, "the disk is full", func() error {
		var fs unix.Statfs_t
		if err := unix.Statfs(small, &fs); err != nil {
			return err
		}
		if fs.Bfree > 0 {
			return fmt.Errorf("%d blocks are free", fs.Bfree)
		}
		return nil
	})
	must(t, os.WriteFile(full, nil, 0o644))
	n.ended()
	if code := n.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(n.out.String(), "writing the journal "+small) || !strings.Contains(n.out.String(), "no space left") {
		t.Errorf("exit code %d: %s", code, n.out)
	}
	if now := processesOf(t)["steady-disk"]; len(now) != 1 || now[0] != ran["steady-disk"][0] {
		t.Errorf("the task ran as %v and runs as %v", ran["steady-disk"], now)
	}

	// While it is still full a start says so too, and harms nothing.
	n.launchNow()
	if code := n.ended(); code != 1 || !strings.Contains(n.out.String(), "no space left") {
		t.Errorf("a start on the full disk: exit code %d: %s", code, n.out)
	}
	fills, err := filepath.Glob(small + "/agent/slaves/*/frameworks/*/executors/filler/runs/*/fill")
	must(t, err)
	for _, x := range fills {
		_ = os.Remove(x) // one of them is a link's
	}
	n.start()
	for id, code := range map[string]string{"filler": "5", "ends-while-full": ""} {
		if s := f.end(id); !strings.Contains(s.GetMessage(), code) {
			t.Errorf("%s ended as %s: %s", id, s.GetState(), s.GetMessage())
		}
	}
	f.oneEnd("filler", failed)
	f.oneEnd("ends-while-full", finished)
	f.launch(task("after-the-flood", "exec sleep 600"))
	if now := processesOf(t)["steady-disk"]; len(now) != 1 || now[0] != ran["steady-disk"][0] {
		t.Errorf("the task ran as %v and runs as %v", ran["steady-disk"], now)
	}
}

func TestASandboxThatCannotBeMadeFailsItsTaskAlone(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	mount(t, filepath.Join(n.data(), "agent"), "size=8m,nr_inodes=40,mode=0711")
	n.start()
	f := subscribe(t, n.master)
	f.launch(task("roomy", "exec sleep 600"))
	f.launch(task("files", "i=0; while touch f$i; do i=$((i+1)); done; exec sleep 600"))
	eventually(t, "the files to be used up", func() error {
		var s unix.Statfs_t
		if err := unix.Statfs(filepath.Join(n.data(), "agent"), &s); err != nil || s.Ffree > 0 {
			return fmt.Errorf("%d are left (%v)", s.Ffree, err)
		}
		return nil
	})
	must(t, f.accept(task("no-room", "true")))
	if s := f.end("no-room"); s.GetState() != failed || s.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(s.GetMessage(), "sandbox") || !strings.Contains(s.GetMessage(), "no space left") {
		t.Errorf("%s %s: %s", s.GetState(), s.GetReason(), s.GetMessage())
	}
	if len(processesOf(t)["roomy"]) != 1 || !n.running() {
		t.Error("another task, or the node, suffered")
	}
	must(t, f.kill("files"))
	f.end("files")
	found, err := filepath.Glob(filepath.Join(n.data(), "agent/slaves/*/frameworks/*/executors/files/runs/*/f*"))
	must(t, err)
	for _, x := range found {
		_ = os.Remove(x) // one of two names
	}
	f.launch(task("room-again", "exec sleep 600"))
}

func TestAMissingControllerIsNamedAndTasksRunWithoutIt(t *testing.T) {
	need(t, true)
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err != nil {
		t.Skip("needs the memory controller of cgroup v1, to take it away")
	}
	n := newNode(t, "up")
	n.wrap = func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"unshare", "-m", "sh", "-c", `umount /sys/fs/cgroup/memory && exec "$@"`, "sh"}, cmd.Args...)
		path, err := exec.LookPath("unshare")
		must(t, err)
		cmd.Path = path
	}
	n.start()
	if said := n.out.String(); !strings.Contains(said, "Not enforced: memory limits") || strings.Contains(said, "limits of cpus") {
		t.Errorf("%s", said)
	}
	f := subscribe(t, n.master)
	f.launch(task("unlimited", "exec sleep 600"))
	p := processesOf(t)["unlimited"]
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p[0].pid))
	if err != nil || !strings.Contains(string(b), "cpu:/pando/") {
		t.Errorf("the task is in %s (%v)", b, err)
	}
	if s := n.signal(syscall.SIGTERM); s != 0 {
		t.Errorf("exit code %d", s)
	}
}
