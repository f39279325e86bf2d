package fate

import (
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
)

func status(state mesosv1.TaskState, reason mesosv1.TaskStatus_Reason, message string) *mesosv1.TaskStatus {
	return &mesosv1.TaskStatus{State: &state, Reason: &reason, Message: &message}
}

func TestCodesAreTheTasksOwnWhereItHasOne(t *testing.T) {
	const (
		finished = mesosv1.TaskState_TASK_FINISHED
		failed   = mesosv1.TaskState_TASK_FAILED
		killed   = mesosv1.TaskState_TASK_KILLED
		own      = mesosv1.TaskStatus_REASON_COMMAND_EXECUTOR_FAILED
	)
	for _, tc := range []struct {
		name    string
		status  *mesosv1.TaskStatus
		started bool
		want    int
	}{
		{"finished", status(finished, own, "Command exited with status 0"), true, 0},
		{"finished without words", status(finished, own, ""), true, 0},
		{"an exit code", status(failed, own, "Command exited with status 3"), true, 3},
		{"a signal", status(failed, own, "Command terminated with signal Segmentation fault"), true, 139},
		{"a signal with a core", status(failed, own, "Command terminated with signal Aborted (core dumped)"), true, 134},
		{"a signal by number", status(failed, own, "Command terminated with signal 42"), true, 170},
		{"killed, and by what", status(killed, own, "Command terminated with signal Killed"), true, 137},
		{"killed without words", status(killed, own, ""), true, 143},
		{"killed that exited by itself", status(killed, own, "Command exited with status 7"), true, 7},
		{"out of memory", status(failed, mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY, "Memory limit exceeded"), true, 137},
		{"over its time", status(failed, mesosv1.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED, "Command terminated with signal Killed"), true, TimedOut},
		{"a failed fetch", status(failed, mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, "404"), false, NeverStarted},
		{"failed without words", status(failed, own, ""), true, 1},
		{"its watcher died", status(failed, mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED, ""), true, Lost},
		{"refused", status(mesosv1.TaskState_TASK_ERROR, mesosv1.TaskStatus_REASON_TASK_INVALID, "cpus"), false, NeverStarted},
		{"dropped", status(mesosv1.TaskState_TASK_DROPPED, mesosv1.TaskStatus_REASON_INVALID_OFFERS, ""), false, NeverStarted},
		{"gone", status(mesosv1.TaskState_TASK_GONE, mesosv1.TaskStatus_REASON_AGENT_REMOVED, ""), true, Lost},
		{"lost", status(mesosv1.TaskState_TASK_LOST, mesosv1.TaskStatus_REASON_AGENT_REMOVED, ""), true, Lost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Code(tc.status, tc.started); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestWordsSayWhatWhyAndWhatWasSaid(t *testing.T) {
	for want, s := range map[string]*mesosv1.TaskStatus{
		"it failed (Command exited with status 3)": status(mesosv1.TaskState_TASK_FAILED,
			mesosv1.TaskStatus_REASON_COMMAND_EXECUTOR_FAILED, "Command exited with status 3."),
		"it failed: it used more memory than it asked for: ask for more": status(mesosv1.TaskState_TASK_FAILED,
			mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY, ""),
		"it was refused: resources unknown (cpus)": status(mesosv1.TaskState_TASK_ERROR,
			mesosv1.TaskStatus_REASON_RESOURCES_UNKNOWN, "cpus"),
	} {
		if got := Words(s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for number, name := range mesosv1.TaskState_name {
		if _, ok := states[mesosv1.TaskState(number)]; !ok {
			t.Errorf("%s has no words", name)
		}
	}
	if got := Words(&mesosv1.TaskStatus{State: mesosv1.TaskState_TASK_RUNNING.Enum()}); got != "it runs" {
		t.Errorf("got %q", got)
	}
}
