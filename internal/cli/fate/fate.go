// Package fate says what a task's last status means: in words for people, and as an exit code for shells.
package fate

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
)

// The exit codes that are not a task's own. They keep clear of what shells give a meaning to.
const (
	Lost         = 123 // the task was lost, or nobody knows how it ended
	TimedOut     = 124 // a time limit ended it; what timeout(1) says too
	NeverStarted = 125 // its command did not run
)

const signalled = 128 // plus the signal's number, as shells say it

// signals are the names that "Command terminated with signal NAME" ends in, as strsignal(3) spells them.
var signals = map[string]int{
	"Hangup": 1, "Interrupt": 2, "Quit": 3, "Illegal instruction": 4, "Trace/breakpoint trap": 5, "Aborted": 6,
	"Bus error": 7, "Floating point exception": 8, "Killed": 9, "User defined signal 1": 10, "Segmentation fault": 11,
	"User defined signal 2": 12, "Broken pipe": 13, "Alarm clock": 14, "Terminated": 15, "Stack fault": 16,
	"CPU time limit exceeded": 24, "File size limit exceeded": 25, "Bad system call": 31,
}

var (
	exited     = regexp.MustCompile(`exited with status (\d+)\b`)
	terminated = regexp.MustCompile(`terminated with signal ([^(\n]+?)\.?\s*(?:\(|$)`)
)

// command reads how a command ended out of a status' message. Clients of the original do the same: there is no field.
func command(message string) (code int, ok bool) {
	if m := exited.FindStringSubmatch(message); m != nil {
		code, err := strconv.Atoi(m[1])
		return code, err == nil && code < 256
	}
	if m := terminated.FindStringSubmatch(message); m != nil {
		if n, known := signals[m[1]]; known {
			return signalled + n, true
		}
		if n, err := strconv.Atoi(m[1]); err == nil {
			return signalled + n, true
		}
	}
	return 0, false
}

// Code is the exit code for a task with this last status. started says whether it was ever seen running.
func Code(s *mesosv1.TaskStatus, started bool) int {
	switch s.GetReason() {
	case mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY:
		return signalled + 9 // what the kernel did to it
	case mesosv1.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED:
		return TimedOut
	}
	if code, ok := command(s.GetMessage()); ok {
		return code
	}
	switch s.GetState() {
	case mesosv1.TaskState_TASK_FINISHED:
		return 0
	case mesosv1.TaskState_TASK_KILLED:
		return signalled + 15
	case mesosv1.TaskState_TASK_ERROR, mesosv1.TaskState_TASK_DROPPED:
		return NeverStarted
	case mesosv1.TaskState_TASK_FAILED:
		switch {
		case s.GetReason() == mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED:
			return Lost
		case !started:
			return NeverStarted
		}
		return 1
	}
	return Lost
}

// states are what each state means.
var states = map[mesosv1.TaskState]string{
	mesosv1.TaskState_TASK_STAGING:          "it was sent to its node",
	mesosv1.TaskState_TASK_STARTING:         "its node prepares it",
	mesosv1.TaskState_TASK_RUNNING:          "it runs",
	mesosv1.TaskState_TASK_KILLING:          "it is being killed",
	mesosv1.TaskState_TASK_FINISHED:         "it finished",
	mesosv1.TaskState_TASK_FAILED:           "it failed",
	mesosv1.TaskState_TASK_KILLED:           "it was killed",
	mesosv1.TaskState_TASK_ERROR:            "it was refused",
	mesosv1.TaskState_TASK_LOST:             "it was lost",
	mesosv1.TaskState_TASK_DROPPED:          "it was never started",
	mesosv1.TaskState_TASK_UNREACHABLE:      "its node cannot be reached; it may still run",
	mesosv1.TaskState_TASK_GONE:             "it is gone, and its node knows nothing of it",
	mesosv1.TaskState_TASK_GONE_BY_OPERATOR: "its node was declared gone by an operator",
	mesosv1.TaskState_TASK_UNKNOWN:          "the cluster does not know it",
}

// reasons explain the reasons that a person can do something about; the others are given by name.
var reasons = map[mesosv1.TaskStatus_Reason]string{
	mesosv1.TaskStatus_REASON_COMMAND_EXECUTOR_FAILED:          "",
	mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY:      "it used more memory than it asked for: ask for more",
	mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_DISK:        "it used more disk than it asked for: ask for more",
	mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED:          "its container could not be started",
	mesosv1.TaskStatus_REASON_CONTAINER_PREEMPTED:              "its resources were needed for another role",
	mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED:              "the process that watched over it ended, so nobody knows how it ended",
	mesosv1.TaskStatus_REASON_FRAMEWORK_REMOVED:                "its framework was removed",
	mesosv1.TaskStatus_REASON_INVALID_OFFERS:                   "its offer was taken back while it was launched",
	mesosv1.TaskStatus_REASON_AGENT_REMOVED:                    "its node left the cluster",
	mesosv1.TaskStatus_REASON_AGENT_DISCONNECTED:               "its node was not connected",
	mesosv1.TaskStatus_REASON_AGENT_RESTARTED:                  "its node started anew",
	mesosv1.TaskStatus_REASON_AGENT_REMOVED_BY_OPERATOR:        "an operator removed its node",
	mesosv1.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED:      "it ran longer than its time limit",
	mesosv1.TaskStatus_REASON_TASK_INVALID:                     "its description is not valid",
	mesosv1.TaskStatus_REASON_TASK_UNAUTHORIZED:                "it may not run as that user or with those rights",
	mesosv1.TaskStatus_REASON_TASK_CHECK_STATUS_UPDATED:        "",
	mesosv1.TaskStatus_REASON_TASK_HEALTH_CHECK_STATUS_UPDATED: "its health was checked",
	mesosv1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH:        "it was killed while it was launched",
	mesosv1.TaskStatus_REASON_RECONCILIATION:                   "",
}

// Words is a sentence without its full stop: what the status means, why, and what the cluster said.
func Words(s *mesosv1.TaskStatus) string {
	out, ok := states[s.GetState()]
	if !ok {
		out = "its state is " + s.GetState().String()
	}
	if s.Reason != nil {
		words, known := reasons[s.GetReason()]
		if !known {
			words = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s.GetReason().String(), "REASON_"), "_", " "))
		}
		if words != "" {
			out += ": " + words
		}
	}
	if message := strings.TrimRight(strings.TrimSpace(s.GetMessage()), "."); message != "" {
		out += fmt.Sprintf(" (%s)", message)
	}
	return out
}
