package e2e

import (
	"fmt"
	"os"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/gen/mesosv1"
)

// With share_pid_namespace and ipc_mode SHARE_PARENT a container is among the machine's processes, and has its shared memory.
func TestAContainerMaySeeTheMachinesProcessesAndSharedMemory(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	shared := fmt.Sprintf("/dev/shm/pando-e2e-%d", os.Getpid())
	must(t, os.WriteFile(shared, nil, 0o600))
	t.Cleanup(func() { must(t, os.Remove(shared)) })
	looks := fmt.Sprintf("busybox readlink /proc/self/ns/pid; busybox readlink /proc/self/ns/ipc; test -d /proc/%d && echo processes; test -e %s && echo memory; true", os.Getpid(), shared)
	own := map[string]string{}
	for _, ns := range []string{"pid", "ipc"} {
		to, err := os.Readlink("/proc/self/ns/" + ns)
		must(t, err)
		own[ns] = to
	}
	for id, c := range map[string]struct {
		linux        *mesosv1.LinuxInfo
		pids, memory bool
	}{
		"neither": {nil, false, false},
		"private": {&mesosv1.LinuxInfo{IpcMode: mesosv1.LinuxInfo_PRIVATE.Enum(), SharePidNamespace: new(false)}, false, false},
		"pids":    {&mesosv1.LinuxInfo{SharePidNamespace: new(true)}, true, false},
		"memory":  {&mesosv1.LinuxInfo{IpcMode: mesosv1.LinuxInfo_SHARE_PARENT.Enum()}, false, true},
	} {
		x := inImage(task(id, looks), image)
		x.Container.LinuxInfo = c.linux
		var pid, ipc, words string
		said := n.saying(f, x)
		if _, err := fmt.Sscanf(said, "%s\n%s\n", &pid, &ipc); err != nil {
			t.Errorf("%s said %q: %v", id, said, err)
			continue
		}
		if c.pids {
			words += "processes\n"
		}
		if c.memory {
			words += "memory\n"
		}
		if (pid == own["pid"]) != c.pids || (ipc == own["ipc"]) != c.memory || said != pid+"\n"+ipc+"\n"+words {
			t.Errorf("%s said %q; this test is in %v", id, said, own)
		}
	}
	noTaskProcesses(t)
}

func TestNamesOfTheMachineCannotBeWrittenInAContainer(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	const writes = "test -e /etc/hosts && echo there; for f in hosts resolv.conf; do test -e /etc/$f || continue; (: >> /etc/$f) 2>/dev/null && echo opened $f; done; (echo x > /etc/own) && echo own" // it writes nothing, should it be let
	if got := n.saying(f, inImage(task("writes", writes), image)); got != "there\nown\n" {
		t.Errorf("it said %q", got)
	}
}

// A command check of a container with an image finds what is in it, of each type and in groups, with words as they were quoted.
func TestContainersWithImagesAreCheckedInside(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin", "WORDS=two words"}})
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	checked := func(x *mesosv1.TaskInfo) *mesosv1.TaskInfo {
		x.HealthCheck = &mesosv1.HealthCheck{
			Type:         mesosv1.HealthCheck_COMMAND.Enum(),
			Command:      &mesosv1.CommandInfo{Value: new(`test "$(cat /etc/whose)" = "the image's" -a "$WORDS" = 'two words' -a ! -e /ill`)},
			DelaySeconds: new(0.0), IntervalSeconds: new(0.1), GracePeriodSeconds: new(0.0), ConsecutiveFailures: new(uint32(1000)),
		}
		return x
	}
	const script = "until [ -e $MESOS_SANDBOX/fall-ill ]; do sleep 0.05; done; touch /ill; exec sleep 1000"
	tasks := map[string]*mesosv1.TaskInfo{"docker": dockered(task("docker", script), image), "mesos": inImage(task("mesos", script), image), "in-group": inImage(task("in-group", script), image)}
	f.launch(checked(tasks["docker"]), checked(tasks["mesos"]))
	f.launchGroup(checked(tasks["in-group"]))
	is := func(healthy bool) func() bool {
		return func() bool {
			for id := range tasks {
				all := f.statuses[id]
				if last := all[len(all)-1]; last.Healthy == nil || last.GetHealthy() != healthy {
					return false
				}
			}
			return true
		}
	}
	f.until("all to be healthy", is(true))
	for id := range tasks {
		if code, said := outcome(t, n.pando("task", "exec", id, "--", "touch", "/mnt/mesos/sandbox/fall-ill")); code != 0 {
			t.Fatalf("%s: %d %s", id, code, said)
		}
	}
	f.until("all to be ill", is(false))
	f.goodbye("docker", "mesos", "in-group")
	noTaskProcesses(t)
}
