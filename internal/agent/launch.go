package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/fetch"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/mesos"
)

// What the original adds to a task for the executor beside it. Clients that compute with it go on doing so, and the
// limits of what they see are the same.
const (
	extraCPUs = 100    // thousandths of a cpu
	extraMem  = 32_000 // thousandths of a megabyte
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch makes a container off the loop, when its turn has come; the end comes back as Launched.
func (a *Agent) launch(w *workload.LaunchWork) {
	a.mu.Lock()
	ctx, cancel := context.WithCancel(a.base)
	a.cancels[w.Container] = cancel
	a.mu.Unlock()
	a.work.Go(func() {
		defer func() {
			cancel()
			a.mu.Lock()
			delete(a.cancels, w.Container)
			a.mu.Unlock()
		}()
		in := a.tryLaunch(ctx, w)
		if a.base.Err() != nil && in.Failure != workload.LaunchOK {
			return // the agent stops; the next one finds out what became of it
		}
		_ = a.loop.Put(a.base, in) // likewise
	})
}

func (a *Agent) tryLaunch(ctx context.Context, w *workload.LaunchWork) *workload.Launched {
	fail := func(kind workload.LaunchFailure, words string) *workload.Launched {
		if ctx.Err() != nil {
			kind = workload.LaunchCanceled
		} else {
			a.counts.launchErrors.Inc()
		}
		return &workload.Launched{Container: w.Container, Failure: kind, Words: words}
	}
	var info mesosv1.TaskInfo
	if err := proto.Unmarshal(w.Task.Info, &info); err != nil {
		return fail(workload.LaunchRefused, "The task cannot be read: "+err.Error())
	}
	user := w.Task.User
	uid, gid := -1, -1
	var owner *host.User
	if a.cfg.SwitchUser {
		u, err := host.LookupUser(user)
		if err != nil {
			return fail(workload.UserUnknown, "The task cannot run as user "+strconv.Quote(user)+" on this machine: "+err.Error())
		}
		uid, gid, owner = int(u.UID), int(u.GID), &u
	} else if why := a.foreign(user); why != "" {
		return fail(workload.LaunchRefused, why)
	} else {
		user = ""
	}
	run := a.run(w.Task, w.Container)
	dir, err := sandbox.Create(a.cfg.WorkDir, run, uid, gid)
	if err != nil {
		return fail(workload.LaunchRefused, "The sandbox cannot be made: "+err.Error())
	}
	a.files.AttachRun(a.cfg.WorkDir, run)
	if uris := info.GetCommand().GetUris(); len(uris) > 0 {
		job := fetch.Job{Sandbox: dir, User: owner}
		for _, u := range uris {
			job.URIs = append(job.URIs, fetch.URI{
				Value: u.GetValue(), Executable: u.GetExecutable(), Extract: u.GetExtract(), OutputFile: u.GetOutputFile(), Cache: u.GetCache(),
			})
		}
		if err := a.deps.Fetcher.Fetch(ctx, job); err != nil {
			a.counts.unfetched.Inc()
			return fail(workload.LaunchRefused, "The task's files cannot be fetched: "+err.Error())
		}
		a.counts.fetched.Inc()
	}
	select {
	case a.launches <- struct{}{}:
		defer func() { <-a.launches }()
	case <-ctx.Done():
		return fail(workload.LaunchCanceled, "")
	}
	started, err := a.deps.Runtime.Launch(ctx, a.spec(w, &info, dir, user))
	if err == nil {
		return &workload.Launched{Container: w.Container, PID: started.PID, Ticks: started.StartTicks}
	}
	switch container.KindOf(err) {
	case container.KindExec:
		a.say(dir, err)
		return fail(workload.ExecFailed, err.Error())
	case container.KindKilled:
		return &workload.Launched{Container: w.Container, Failure: workload.LaunchCanceled}
	case container.KindUser:
		return fail(workload.UserUnknown, "The task cannot run as user "+strconv.Quote(w.Task.User)+" on this machine: "+err.Error())
	}
	return fail(workload.LaunchRefused, "The container cannot be started: "+err.Error())
}

// foreign says why an agent that does not switch users must not run a user's task: on loopback others may ask in their own
// name, and would get to act in the agent's. Root's and no name are let through: only root and the agent's own user may give
// them, and many schedulers do without meaning it.
func (a *Agent) foreign(name string) string {
	if a.cfg.AnyUser || name == "root" || name == "" || os.Geteuid() < 0 { // there are no such numbers on Windows
		return ""
	}
	if u, err := host.LookupUser(name); err == nil && int(u.UID) == os.Geteuid() {
		return ""
	}
	return "This agent does not switch users, so a task of user " + strconv.Quote(name) + " would run as another one; run it on an agent of root with --switch-user, or start the cluster with --trust-loopback."
}

// say leaves a word in a task's stderr, for who looks there.
func (a *Agent) say(dir string, words error) {
	f, err := os.OpenFile(filepath.Join(dir, "stderr"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return
	}
	_, err = fmt.Fprintln(f, words)
	if err = errors.Join(err, f.Close()); err != nil {
		a.deps.Log.Debug("a word could not be left in stderr", "error", err)
	}
}

// run names the sandbox of a task's container. Command tasks are their own executors.
func (a *Agent) run(t *workload.Task, id string) sandbox.Run {
	return sandbox.Run{Agent: a.view.Load().Agent, Framework: t.Framework, Executor: t.ID, Container: id}
}

// spec makes the container's description of a task.
func (a *Agent) spec(w *workload.LaunchWork, info *mesosv1.TaskInfo, dir, user string) container.Spec {
	s := container.Spec{
		ID: w.Container, Sandbox: dir, User: user, Env: a.environment(w, info, dir),
		CPUs: int64(w.Task.Resources.Scalar("cpus")) + extraCPUs, Mem: int64(w.Task.Resources.Scalar("mem")) + extraMem,
		MaxCompletion: w.Task.Completion, KillGrace: w.Task.Grace,
	}
	if a.cfg.Quota {
		s.CPULimit = s.CPUs
	}
	if l, ok := info.GetLimits()["cpus"]; ok {
		s.CPULimit = limit(l.GetValue(), extraCPUs)
	}
	if l, ok := info.GetLimits()["mem"]; ok {
		s.MemLimit = limit(l.GetValue(), extraMem)
	}
	c := info.GetCommand()
	if c.GetShell() {
		s.Path, s.Args = "/bin/sh", []string{"sh", "-c", c.GetValue()}
	} else {
		s.Path, s.Args = c.GetValue(), c.GetArguments()
		if len(s.Args) == 0 {
			s.Args = []string{c.GetValue()}
		}
	}
	linux := info.GetContainer().GetLinuxInfo()
	s.Bounding = capabilityNumbers(linux.GetBoundingCapabilities())
	s.Effective = capabilityNumbers(linux.GetEffectiveCapabilities())
	if s.Effective == nil {
		s.Effective = capabilityNumbers(linux.GetCapabilityInfo())
	}
	for _, r := range info.GetContainer().GetRlimitInfo().GetRlimits() {
		l := container.Rlimit{Type: rlimitNumbers[r.GetType()], Soft: math.MaxUint64, Hard: math.MaxUint64}
		if r.Soft != nil && r.Hard != nil {
			l.Soft, l.Hard = r.GetSoft(), r.GetHard()
		}
		s.Rlimits = append(s.Rlimits, l)
	}
	return s
}

// limit is a limit of the task with what the original adds; infinity is -1.
func limit(v float64, extra int64) int64 {
	if math.IsInf(v, 1) {
		return -1
	}
	return int64(math.Round(v*1000)) + extra
}

// capabilityNumbers are the kernel's: the protocol's begin at 1000.
func capabilityNumbers(c *mesosv1.CapabilityInfo) *[]int {
	if c == nil {
		return nil
	}
	out := []int{}
	for _, x := range c.GetCapabilities() {
		if n := int(x) - 1000; n >= 0 {
			out = append(out, n)
		}
	}
	return &out
}

// rlimitNumbers are Linux' on amd64 and arm64.
var rlimitNumbers = map[mesosv1.RLimitInfo_RLimit_Type]uint32{
	mesosv1.RLimitInfo_RLimit_RLMT_CPU: 0, mesosv1.RLimitInfo_RLimit_RLMT_FSIZE: 1, mesosv1.RLimitInfo_RLimit_RLMT_DATA: 2,
	mesosv1.RLimitInfo_RLimit_RLMT_STACK: 3, mesosv1.RLimitInfo_RLimit_RLMT_CORE: 4, mesosv1.RLimitInfo_RLimit_RLMT_RSS: 5,
	mesosv1.RLimitInfo_RLimit_RLMT_NPROC: 6, mesosv1.RLimitInfo_RLimit_RLMT_NOFILE: 7, mesosv1.RLimitInfo_RLimit_RLMT_MEMLOCK: 8,
	mesosv1.RLimitInfo_RLimit_RLMT_AS: 9, mesosv1.RLimitInfo_RLimit_RLMT_LOCKS: 10, mesosv1.RLimitInfo_RLimit_RLMT_SIGPENDING: 11,
	mesosv1.RLimitInfo_RLimit_RLMT_MSGQUEUE: 12, mesosv1.RLimitInfo_RLimit_RLMT_NICE: 13, mesosv1.RLimitInfo_RLimit_RLMT_RTPRIO: 14,
	mesosv1.RLimitInfo_RLimit_RLMT_RTTIME: 15,
}

// environment is what a task finds: the names of the original, then the operator's, then the task's own.
func (a *Agent) environment(w *workload.LaunchWork, info *mesosv1.TaskInfo, dir string) []string {
	var f mesosv1.FrameworkInfo
	checkpoint := proto.Unmarshal(w.Framework.Info, &f) == nil && f.GetCheckpoint()
	endpoint := net.JoinHostPort(a.cfg.IP, strconv.Itoa(a.cfg.Port))
	env := map[string]string{
		"PATH":                                 defaultPath,
		"MESOS_AGENT_ENDPOINT":                 endpoint,
		"MESOS_ALLOCATION_ROLE":                w.Task.Role,
		"MESOS_CHECKPOINT":                     "0",
		"MESOS_DIRECTORY":                      dir,
		"MESOS_EXECUTOR_ID":                    w.Task.ID,
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": mesos.FormatDuration(a.cfg.ShutdownGrace),
		"MESOS_FRAMEWORK_ID":                   w.Task.Framework,
		"MESOS_HTTP_COMMAND_EXECUTOR":          "0",
		"MESOS_SANDBOX":                        dir,
		"MESOS_SLAVE_ID":                       a.view.Load().Agent,
		"MESOS_SLAVE_PID":                      "slave(1)@" + endpoint,
	}
	if checkpoint {
		env["MESOS_CHECKPOINT"] = "1"
		env["MESOS_RECOVERY_TIMEOUT"] = mesos.FormatDuration(a.cfg.RecoveryTimeout)
		env["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = mesos.FormatDuration(2e9)
	}
	maps.Copy(env, a.cfg.Environment)
	for _, v := range info.GetCommand().GetEnvironment().GetVariables() {
		env[v.GetName()] = v.GetValue()
	}
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
