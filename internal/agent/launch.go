package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/bounds"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/agent/networked"
	"github.com/pando-os/pando/internal/agent/support"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/fetch"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// backoffTold is how long executors may wait between two tries to subscribe: well within the time that they have.
const backoffTold = 2 * time.Second

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch makes a container off the loop, when its turn has come; the end comes back as Launched.
func (a *Agent) launch(w *workload.LaunchWork) {
	a.mu.Lock()
	ctx, cancel := context.WithCancel(a.base)
	a.cancels[w.Container] = cancel
	a.mu.Unlock()
	k := a.keptOf(w.Task)
	a.work.Go(func() {
		defer func() {
			cancel()
			a.mu.Lock()
			delete(a.cancels, w.Container)
			a.mu.Unlock()
		}()
		in := a.tryLaunch(ctx, w, k)
		if a.base.Err() != nil && in.Failure != workload.LaunchOK {
			return // the agent stops; the next one finds out what became of it
		}
		_ = a.loop.Put(a.base, in) // likewise
	})
}

func (a *Agent) tryLaunch(ctx context.Context, w *workload.LaunchWork, k kept) *workload.Launched {
	fail := func(kind workload.LaunchFailure, words string) *workload.Launched {
		if ctx.Err() != nil {
			kind = workload.LaunchCanceled
		} else {
			a.counts.launchErrors.Inc()
		}
		return &workload.Launched{Container: w.Container, Failure: kind, Words: words}
	}
	b, err := a.blueprint(w, k)
	if err != nil {
		return fail(workload.LaunchRefused, "The task cannot be read: "+err.Error())
	}
	if err := a.resolve(ctx, slices.Concat(mesos.CommandSecrets(b.command), mesos.ContainerSecrets(b.container), b.secrets)); err != nil {
		return fail(workload.LaunchRefused, "The task's secrets cannot be resolved: "+err.Error()+".")
	}
	as, kind, why := a.identity(b.user)
	if why != "" {
		return fail(kind, "The task"+why)
	}
	if why := confine.Untrusted(b.container.GetLinuxInfo()); why != "" && !b.trusted {
		return fail(workload.LaunchRefused, why)
	}
	at, err := a.makePlace(w, b, as)
	if err != nil {
		return fail(workload.LaunchRefused, "The sandbox cannot be made: "+err.Error())
	}
	defer at.close()
	if uris := b.command.GetUris(); len(uris) > 0 {
		job := fetch.Job{Sandbox: at.dir, Root: at.root, User: as.owner, URIs: fetches(uris)}
		if err := a.deps.Fetcher.Fetch(ctx, job); err != nil {
			a.counts.unfetched.Inc()
			return fail(workload.LaunchRefused, "The task's files cannot be fetched: "+err.Error())
		}
		a.counts.fetched.Inc()
	}
	runs := false
	defer func() {
		if !runs {
			a.abandon(w.Container, w.Parent)
		}
	}()
	s, err := a.arrange(ctx, w, b, at, as)
	if err != nil {
		return fail(workload.LaunchRefused, err.Error())
	}
	select {
	case a.launches <- struct{}{}:
		defer func() { <-a.launches }()
	case <-ctx.Done():
		return fail(workload.LaunchCanceled, "")
	}
	if w.Parent != "" {
		a.resize(w.Parent) // it must have room for this one before it starts
	}
	started, err := a.deps.Runtime.Launch(ctx, s)
	if runs = err == nil; runs {
		return &workload.Launched{Container: w.Container, PID: started.PID, Ticks: started.StartTicks}
	}
	switch container.KindOf(err) {
	case container.KindExec:
		a.say(at, err)
		return fail(workload.ExecFailed, err.Error())
	case container.KindKilled:
		return &workload.Launched{Container: w.Container, Failure: workload.LaunchCanceled}
	case container.KindUser:
		return fail(workload.UserUnknown, "The task cannot run as user "+strconv.Quote(b.user)+" on this machine: "+err.Error())
	}
	return fail(workload.LaunchRefused, "The container cannot be started: "+err.Error())
}

// identity is whom a container runs as.
type identity struct {
	name     string     // for the runtime; empty: whom the agent runs as
	owner    *host.User // nil: likewise
	uid, gid int        // likewise -1
}

// identity finds whom a container of a user runs as, or says why it cannot run, behind what runs.
func (a *Agent) identity(name string) (as identity, kind workload.LaunchFailure, why string) {
	if !a.cfg.SwitchUser {
		return identity{uid: -1, gid: -1}, workload.LaunchRefused, a.foreign(name)
	}
	u, err := host.LookupUser(name)
	if err != nil {
		return as, workload.UserUnknown, " cannot run as user " + strconv.Quote(name) + " on this machine: " + err.Error()
	}
	return identity{name, &u, int(u.UID), int(u.GID)}, 0, ""
}

// abandon lets go of what was arranged for a container that does not run. One below another is in the other's networks.
func (a *Agent) abandon(id, parent string) {
	a.imaged.Drop(id)
	a.dropSecretFiles(id)
	if parent != "" {
		return
	}
	if err := a.deps.Networks.Leave(context.WithoutCancel(a.lifetime()), id); err != nil {
		a.deps.Log.Warn("a container that was not started is still in its networks; it is tried again", "container", id, "error", err)
	}
}

// arrange brings what a container uses beside its files into its sandbox, or into its image when it has one, and describes it. When that
// fails, abandon lets go of what was done.
func (a *Agent) arrange(ctx context.Context, w *workload.LaunchWork, b *blueprint, at *place, as identity) (container.Spec, error) {
	p, err := a.picture(ctx, b)
	if err != nil {
		return container.Spec{}, err
	}
	nets, err := a.join(ctx, w, b)
	if err != nil {
		return container.Spec{}, err
	}
	if p == nil {
		if err := a.placeVolumes(at, b.run, w.Container, b.resources, as.uid, as.gid); err != nil {
			return container.Spec{}, fmt.Errorf("The persistent volumes cannot be placed: %w", err) //nolint:staticcheck // it is a sentence of a status
		}
		if err := a.placeShared(at, w, b, as.uid, as.gid); err != nil {
			return container.Spec{}, fmt.Errorf("What the task shares with its group cannot be placed: %w", err) //nolint:staticcheck // as above
		}
	}
	return a.complete(b, at, as, p, nets, func(dir string) (container.Spec, error) { return a.spec(w, b, dir, as.name, p, nets) })
}

// picture gets the image of a container, if it has one; nil: it has none.
func (a *Agent) picture(ctx context.Context, b *blueprint) (*imaged.Picture, error) {
	if !imaged.Wants(b.container) {
		return nil, nil //nolint:nilnil // it has none
	}
	p, err := a.imaged.Provision(ctx, b.id, b.container, b.trusted)
	if err != nil {
		return nil, fmt.Errorf("The image cannot be provided: %w", err) //nolint:staticcheck // it is a sentence of a status
	}
	b.container = p.Container
	return p, nil
}

// complete makes the description of a container, of which spec makes what its kind has of its own, with its files, networks and
// confinement.
func (a *Agent) complete(b *blueprint, at *place, as identity, p *imaged.Picture, nets *networked.Place, spec func(dir string) (container.Spec, error)) (container.Spec, error) {
	var s container.Spec
	var err error
	if p != nil {
		s, err = a.completeImage(b, at, as, p, nets, spec)
	} else if s, err = spec(at.dir); err == nil {
		nets.Show(&s)
		err = a.cfg.Confine.Filter(&s, b.container.GetLinuxInfo().GetSeccomp(), b.trusted)
	}
	if err != nil {
		err = fmt.Errorf("The container cannot be described: %w", err) //nolint:staticcheck // it is a sentence of a status
	}
	return s, err
}

// completeImage does so for a container with an image.
func (a *Agent) completeImage(b *blueprint, at *place, as identity, p *imaged.Picture, nets *networked.Place, spec func(dir string) (container.Spec, error)) (container.Spec, error) {
	uid, gid := as.uid, as.gid
	within, err := p.Runs(uid, b.command.GetUser() != "", b.trusted)
	if within != nil && err == nil {
		uid, gid = int(within.UID), int(within.GID)
		err = sandbox.Give(at.dir, uid, gid)
	}
	var s container.Spec
	if err == nil {
		s, err = spec(imaged.Sandbox)
	}
	s.Sandbox, s.As = at.dir, within
	to := imaged.Place{Sandbox: at.dir, Levels: at.levels, Within: b.called && at.levels > 0, UID: uid, GID: gid, Trusted: b.trusted, Socket: a.cfg.Socket, Network: nets}
	to.GPUs = int((b.resources.Scalar("gpus") + resource.One - 1) / resource.One)
	to.Secret = func(n int, data []byte) (string, error) { return a.vault.File(b.id, n, data, uid, gid) }
	if err == nil {
		to.ParentVolumes, err = a.mountsOf(b.above)
	}
	if err == nil {
		to.Volumes, err = a.mountVolumes(b.id, b.resources, uid, gid)
	}
	if err == nil {
		err = p.Furnish(&s, b.command, to)
	}
	return s, err
}

// join puts a container into its networks, or finds those that it shares with the one that it is below; nil: the machine's.
func (a *Agent) join(ctx context.Context, w *workload.LaunchWork, b *blueprint) (*networked.Place, error) {
	nets := a.deps.Networks.Of(w.Container)
	if w.Parent == "" {
		var err error
		if nets, err = a.deps.Networks.Join(ctx, w.Container, b.container, b.ports); err != nil {
			return nil, fmt.Errorf("The container cannot be joined to its networks: %w", err) //nolint:staticcheck // it is a sentence of a status
		}
	}
	if nets != nil { // what it starts may speak before its launch is over
		_ = a.loop.Put(ctx, &workload.Joined{Container: w.Container, Networks: nets.Infos}) // only an agent that stops takes nothing
	}
	return nets, nil
}

// trusts says whether who may speak for a user is root, by the user of a framework or of a container made by call. No name is
// root's, as in foreign.
func (a *Agent) trusts(user string) bool {
	return a.cfg.AnyUser || user == "root" || user == ""
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
func (a *Agent) say(at *place, words error) {
	root := at.root
	if root == nil {
		var err error
		if root, err = os.OpenRoot(at.dir); err != nil {
			return
		}
		defer root.Close()
	}
	f, err := root.OpenFile("stderr", os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return
	}
	_, err = fmt.Fprintln(f, words)
	if err = errors.Join(err, f.Close()); err != nil {
		a.deps.Log.Debug("a word could not be left in stderr", "error", err)
	}
}

// blueprint is what a container is made of, a task's or an executor's.
type blueprint struct {
	id        string // the runtime's name for it
	user      string
	trusted   bool // root asks for it
	called    bool // it is a container of the API
	shares    bool // it has the cgroup of the one that it is below; of a container of the API
	run       sandbox.Run
	command   *mesosv1.CommandInfo
	container *mesosv1.ContainerInfo
	limits    container.Limits
	resources resource.List     // in which its volumes are
	above     resource.List     // those of the container that it is directly below
	ports     []resource.Span   // that it, and what is below it, was given
	secrets   []*mesosv1.Secret // of its checks
}

// blueprint reads what a launch asks for.
func (a *Agent) blueprint(w *workload.LaunchWork, k kept) (*blueprint, error) {
	task, err := k.whole(w.Task)
	if err != nil {
		return nil, err
	}
	b := a.ownBlueprint
	if w.Parent != "" {
		b = a.pooledBlueprint
	}
	out := b(w, task)
	out.id, out.trusted = w.Container, a.trusts(w.Framework.User)
	return out, nil
}

// ownBlueprint reads what a task asks for that is its own executor, or what its executor does.
func (a *Agent) ownBlueprint(w *workload.LaunchWork, task *mesosv1.TaskInfo) *blueprint {
	run := sandbox.Run{Agent: a.view.Load().Agent, Framework: w.Task.Framework, Executor: w.Task.ID, Container: w.Container}
	if x := w.Executor; x != nil {
		info := task.GetExecutor() // it is this task that it is started for
		run.Executor = x.ID
		needs := w.Needs
		if needs == nil {
			needs = []workload.Need{{Resources: x.Resources}, {Resources: w.Task.Resources, Task: w.Task}}
		}
		var ports []resource.Span
		for _, n := range needs {
			ports = append(ports, n.Resources.Spans("ports")...)
		}
		return &blueprint{
			user: x.User, run: run, command: info.GetCommand(), container: info.GetContainer(), limits: bounds.Sum(needs, a.cfg.Quota),
			resources: x.Resources, ports: ports,
		}
	}
	return &blueprint{
		user: w.Task.User, run: run, command: task.GetCommand(), container: task.GetContainer(),
		limits: bounds.Of(w.Task.Resources, task.GetLimits(), bounds.OfExecutor, a.cfg.Quota), resources: w.Task.Resources, ports: w.Task.Resources.Spans("ports"),
		secrets: checkSecrets(task),
	}
}

// spec makes the container's description of a task.
func (a *Agent) spec(w *workload.LaunchWork, b *blueprint, dir, user string, p *imaged.Picture, nets *networked.Place) (container.Spec, error) {
	s := container.Spec{
		ID: w.Container, Sandbox: dir, User: user, Env: a.environment(w, b, dir, p, nets),
		CPUs: b.limits.CPUs, Mem: b.limits.Mem, CPULimit: b.limits.CPULimit, MemLimit: b.limits.MemLimit,
	}
	if w.Parent != "" {
		s.Parent, s.ShareCgroup = w.Parent, !w.Task.Separate
	}
	if s.Alone = w.Executor != nil && w.Parent == ""; !s.Alone { // an executor ends its tasks itself
		s.MaxCompletion, s.KillGrace = w.Task.Completion, w.Task.Grace
	}
	if s.Alone && w.Executor.Default {
		return s, nil // it has no program, and what is asked of its container is asked of its tasks' too
	}
	err := a.describe(&s, b)
	return s, err
}

// fetches are what a command wants fetched.
func fetches(uris []*mesosv1.CommandInfo_URI) []fetch.URI {
	var out []fetch.URI
	for _, u := range uris {
		out = append(out, fetch.URI{
			Value: u.GetValue(), Executable: u.GetExecutable(), Extract: u.GetExtract(), OutputFile: u.GetOutputFile(), Cache: u.GetCache(),
		})
	}
	return out
}

// describe adds to a container's description what its command and its ContainerInfo say.
func (a *Agent) describe(s *container.Spec, b *blueprint) error {
	s.CPUs, s.Mem, s.CPULimit, s.MemLimit = b.limits.CPUs, b.limits.Mem, b.limits.CPULimit, b.limits.MemLimit
	if t := b.container.GetTtyInfo(); t != nil {
		size := t.GetWindowSize()
		s.Terminal, s.Alone = &container.Terminal{Rows: uint16(size.GetRows()), Columns: uint16(size.GetColumns())}, s.Parent == ""
	}
	c := b.command
	if c.GetShell() {
		s.Path, s.Args = "/bin/sh", []string{"sh", "-c", c.GetValue()}
	} else {
		s.Path, s.Args = c.GetValue(), c.GetArguments()
		if len(s.Args) == 0 {
			s.Args = []string{c.GetValue()}
		}
	}
	for _, r := range b.container.GetRlimitInfo().GetRlimits() {
		l := container.Rlimit{Type: support.Rlimits[r.GetType()], Soft: math.MaxUint64, Hard: math.MaxUint64}
		if r.Soft != nil && r.Hard != nil {
			l.Soft, l.Hard = r.GetSoft(), r.GetHard()
		}
		s.Rlimits = append(s.Rlimits, l)
	}
	logs, err := a.cfg.Logs.Of(c)
	if err != nil {
		return err
	}
	s.Stdout, s.Stderr = logs.Stdout, logs.Stderr
	return a.cfg.Confine.Capabilities(s, b.container.GetLinuxInfo())
}

// environment is what a task or an executor finds: the names of the original, then the operator's, then the task's own.
func (a *Agent) environment(w *workload.LaunchWork, b *blueprint, dir string, p *imaged.Picture, nets *networked.Place) []string {
	var f mesosv1.FrameworkInfo
	checkpoint := proto.Unmarshal(w.Framework.Info, &f) == nil && f.GetCheckpoint()
	endpoint := net.JoinHostPort(a.cfg.IP, strconv.Itoa(a.cfg.Port))
	grace := a.cfg.ShutdownGrace
	if x := w.Executor; x != nil && x.Grace >= 0 {
		grace = x.Grace
	}
	env := map[string]string{
		"PATH":                                 defaultPath,
		"MESOS_AGENT_ENDPOINT":                 endpoint,
		"MESOS_CHECKPOINT":                     "0",
		"MESOS_DIRECTORY":                      dir,
		"MESOS_EXECUTOR_ID":                    b.run.Executor,
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": mesos.FormatDuration(grace),
		"MESOS_FRAMEWORK_ID":                   w.Task.Framework,
		"MESOS_HTTP_COMMAND_EXECUTOR":          "0",
		"MESOS_SANDBOX":                        dir,
		"MESOS_SLAVE_ID":                       a.view.Load().Agent,
		"MESOS_SLAVE_PID":                      "slave(1)@" + endpoint,
	}
	if w.Executor == nil || w.Parent != "" {
		env["MESOS_ALLOCATION_ROLE"] = w.Task.Role
	}
	if w.Parent != "" {
		env["MESOS_CONTAINER_IP"] = a.cfg.IP
	}
	if nets != nil {
		env["MESOS_CONTAINER_IP"] = nets.Address()
	}
	if a.cfg.Socket != "" {
		env["MESOS_DOMAIN_SOCKET"] = a.cfg.Socket
	}
	if checkpoint {
		env["MESOS_CHECKPOINT"] = "1"
		env["MESOS_RECOVERY_TIMEOUT"] = mesos.FormatDuration(a.cfg.RecoveryTimeout)
		env["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = mesos.FormatDuration(min(backoffTold, a.cfg.Book.ReregisterTimeout))
	}
	p.Environment(env, nets)
	maps.Copy(env, a.cfg.Environment)
	return withOwn(env, b.command)
}

// withOwn adds what a command says of its environment.
func withOwn(env map[string]string, c *mesosv1.CommandInfo) []string {
	for _, v := range c.GetEnvironment().GetVariables() {
		env[v.GetName()] = mesos.ValueOf(v)
	}
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
