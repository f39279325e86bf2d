package e2e

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/gen/mesosv1"
)

// withDisk gives a task megabytes of disk.
func withDisk(x *mesosv1.TaskInfo, mb float64) *mesosv1.TaskInfo {
	x.Resources = append(x.Resources, &mesosv1.Resource{
		Name: new("disk"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &mb},
		AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("test")},
	})
	return x
}

func TestWhoTakesMoreDiskThanHeHasIsEnded(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	n := newNode(t, "up", "--plain-registries", s.host, "--container-disk-watch-interval", "200ms", "--enforce-container-disk-quota")
	n.start()
	f := subscribe(t, n.master)
	const fill = "; head -c 8000000 /dev/zero > file; sleep 1000"
	image := s.push("app:1", v1.Config{})
	elsewhere := inImage(task("elsewhere", "cd /tmp"+fill), image)
	modest := withDisk(inImage(task("modest", "cd /tmp"+fill), image), 64)
	f.launch(withDisk(task("sandbox", "true"+fill), 4), withDisk(elsewhere, 4), modest, task("free", "true"+fill))
	for _, id := range []string{"sandbox", "elsewhere"} {
		e := f.end(id)
		if e.GetState() != mesosv1.TaskState_TASK_FAILED || e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_DISK || !strings.Contains(e.GetMessage(), "resources.disk") {
			t.Errorf("%s ended as %v", id, e)
		}
		if r := e.GetLimitation().GetResources(); len(r) != 1 || r[0].GetScalar().GetValue() != 4 {
			t.Errorf("the limitation of %s is %v", id, r)
		}
	}
	eventually(t, "the use of one that has more to be shown", func() error {
		said, err := says(t, "http://"+n.agent+"/containers")
		if err != nil || !strings.Contains(said, `"disk_limit_bytes":67108864,"disk_used_bytes":8`) {
			return fmt.Errorf("its agent shows %s, %w", said, err)
		}
		return nil
	})
	for _, id := range []string{"modest", "free"} {
		f.killed(id)
		f.oneEnd(id, mesosv1.TaskState_TASK_KILLED)
	}
}

func TestAPodThatTakesMoreDiskThanItsTasksHaveIsEndedAsAWhole(t *testing.T) {
	need(t, true)
	n := newNode(t, "up", "--container-disk-watch-interval", "200ms", "--enforce-container-disk-quota")
	n.start()
	f := subscribe(t, n.master)
	must(t, f.acceptGroup(withDisk(task("fills", "head -c 30000000 /dev/zero > file; sleep 1000"), 5), withDisk(task("waits", "sleep 1000"), 5)))
	for _, id := range []string{"fills", "waits"} { // the pod has ten more
		if e := f.end(id); e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_DISK {
			t.Errorf("%s ended as %v", id, e)
		}
	}
	noTaskProcesses(t)
}

func TestWhatAContainerByCallTakesInItsImageIsItsTasksDisk(t *testing.T) {
	need(t, true)
	shelf := newShelf(t)
	image := shelf.push("app:1", v1.Config{})
	n := newNode(t, "up", "--plain-registries", shelf.host, "--container-disk-watch-interval", "200ms", "--enforce-container-disk-quota")
	n.start()
	s := scopeOn(t, n, true, withDisk(task("top", "sleep 1000"), 4))
	must(t, s.launchBox(s.kid("kid"), "cat /dev/zero | head -c 8000000 > /file; sleep 1000", boxed(image)))
	if e := s.f.end("top"); e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_DISK {
		t.Errorf("it ended as %v", e)
	}
	n.noScratch()
}
