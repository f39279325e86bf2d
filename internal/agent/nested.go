package agent

import (
	"context"
	"fmt"
	"os/user"
	"slices"
	"strings"

	"github.com/pando-os/pando/internal/agent/bounds"
	"github.com/pando-os/pando/internal/agent/networked"
	"github.com/pando-os/pando/internal/agent/support"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/diskwatch"
	"github.com/pando-os/pando/internal/agent/figures"
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/fetch"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// ownUser is whom this process runs as.
func ownUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// lifetime ends with the agent.
func (a *Agent) lifetime() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.base
}

// launchNested makes a container of the API off the loop; the end comes back as Launched.
func (a *Agent) launchNested(n *workload.Nested) {
	a.mu.Lock()
	ctx, cancel := context.WithCancel(a.base)
	a.cancels[n.Container] = cancel
	a.mu.Unlock()
	a.work.Go(func() {
		defer func() {
			cancel()
			a.mu.Lock()
			delete(a.cancels, n.Container)
			a.mu.Unlock()
		}()
		in := a.tryNested(ctx, n)
		if in.Failure != workload.LaunchOK {
			in.Container = n.Container
			if !n.Session {
				a.removeNested(n)
			}
		}
		if a.base.Err() == nil || in.Failure == workload.LaunchOK {
			_ = a.loop.Put(a.base, in) // an agent that stops leaves it to the next
		}
	})
}

func (a *Agent) tryNested(ctx context.Context, n *workload.Nested) *workload.Launched {
	refuse := func(words string) *workload.Launched {
		return &workload.Launched{Failure: workload.LaunchRefused, Words: words}
	}
	b, why := a.nestedBlueprint(n)
	if why != "" {
		return refuse(why)
	}
	if err := a.resolve(ctx, slices.Concat(mesos.CommandSecrets(b.command), mesos.ContainerSecrets(b.container))); err != nil {
		return refuse("The container's secrets cannot be resolved: " + err.Error() + ".")
	}
	as, _, why := a.identity(n.User)
	if why != "" {
		return refuse("The container" + why)
	}
	at, err := a.nestedPlace(ctx, n, b, as)
	if err != nil {
		return refuse(err.Error())
	}
	defer at.close()
	runs := false
	defer func() {
		if !runs {
			a.abandon(n.Container, n.Parent)
		}
	}()
	s, err := a.arrangeNested(ctx, n, b, at, as)
	if err != nil {
		return refuse(err.Error())
	}
	select {
	case a.launches <- struct{}{}:
		defer func() { <-a.launches }()
	case <-ctx.Done():
		return refuse("It was ended before it had started.")
	}
	started, err := a.deps.Runtime.Launch(ctx, s)
	if err != nil {
		return refuse("The container cannot be started: " + err.Error())
	}
	runs = true
	return &workload.Launched{Container: n.Container, PID: started.PID, Ticks: started.StartTicks}
}

// nestedBlueprint reads what a launch asks for, or says why it cannot be had.
func (a *Agent) nestedBlueprint(n *workload.Nested) (b *blueprint, why string) {
	var call genagent.Call_LaunchContainer
	if err := proto.Unmarshal(n.Launch, &call); err != nil {
		return nil, "The call cannot be read: " + err.Error()
	}
	b = &blueprint{id: n.Container, user: n.User, trusted: a.trusts(n.User), called: true, command: call.GetCommand(), container: call.GetContainer(), shares: n.Parent != ""}
	if l := b.container.GetLinuxInfo(); l != nil && l.ShareCgroups != nil && n.Parent != "" {
		b.shares, l.ShareCgroups = l.GetShareCgroups(), nil
	}
	if why := unfit(n, b); why != "" {
		return nil, why
	}
	list, _, err := resource.FromProto(call.GetResources())
	if err != nil {
		return nil, err.Error()
	}
	if a.deps.GPUs != nil && imaged.Wants(b.container) && list.Scalar("gpus") > 0 {
		return nil, "A container by call gets no gpus (resources), which belong to what the master knows of; launch it as a task."
	}
	b.ports, b.above = list.Spans("ports"), resourcesOf(a.view.Load(), n.Parent)
	if n.Parent == "" || len(list) > 0 || len(call.GetLimits()) > 0 {
		b.limits = bounds.Of(list, call.GetLimits(), bounds.Extra{}, a.cfg.Quota)
	}
	return b, ""
}

// resourcesOf finds what a task or an executor has, by its container; none: it is neither's.
func resourcesOf(v *workload.View, container string) resource.List {
	for _, t := range v.Tasks {
		if t.Container == container && (t.Task.Executor == nil || t.Top() != container) { // else it is its executor's
			return t.Task.Resources
		}
	}
	for _, x := range v.Executors {
		if x.Container == container {
			return x.Spec.Resources
		}
	}
	return nil
}

// unfit says why there can be no container by call like this one; empty: there can.
func unfit(n *workload.Nested, b *blueprint) string {
	c, linux := b.container, b.container.GetLinuxInfo()
	switch {
	case imaged.Wants(c) && n.Session:
		return "A session has the files of the container that it is below; leave container.mesos.image out."
	case c != nil && c.GetType() != mesosv1.ContainerInfo_MESOS:
		return "Containers by call are of type MESOS (container.type); give an image as container.mesos.image."
	case n.Parent != "" && len(c.GetNetworkInfos()) > 0:
		return "A container below another has the other's networks; leave container.network_infos out."
	case n.Session && linux.GetSeccomp() != nil:
		return "A session is confined as the container that it is below; leave container.linux_info.seccomp out."
	}
	if why := support.Lacks(&mesosv1.TaskInfo{Command: b.command, Container: c}); why != "" {
		return why
	}
	if why := confine.Untrusted(linux); why != "" && !b.trusted {
		return why
	}
	return ""
}

// nestedPlace makes the sandbox of a container of the API with the files that it wants. A session is in its parent's.
func (a *Agent) nestedPlace(ctx context.Context, n *workload.Nested, b *blueprint, as identity) (*place, error) {
	levels := strings.Count(n.Path, ".")
	if n.Session {
		return &place{dir: n.Sandbox, levels: levels - 1}, nil
	}
	dir, root, err := sandbox.CreateNested(n.Sandbox, levels, as.uid, as.gid)
	if err != nil {
		return nil, fmt.Errorf("The sandbox cannot be made: %w", err) //nolint:staticcheck // it is a sentence of an answer
	}
	if uris := b.command.GetUris(); len(uris) > 0 {
		if err := a.deps.Fetcher.Fetch(ctx, fetch.Job{Sandbox: dir, Root: root, User: as.owner, URIs: fetches(uris)}); err != nil {
			root.Close()
			return nil, fmt.Errorf("The container's files cannot be fetched: %w", err) //nolint:staticcheck // as above
		}
	}
	return &place{dir, root, levels}, nil
}

// arrangeNested does for a container of the API what arrange does for a task's.
func (a *Agent) arrangeNested(ctx context.Context, n *workload.Nested, b *blueprint, at *place, as identity) (container.Spec, error) {
	p, err := a.picture(ctx, b)
	if err != nil {
		return container.Spec{}, err
	}
	nets, err := a.joinNested(ctx, n, b)
	if err != nil {
		return container.Spec{}, err
	}
	return a.complete(b, at, as, p, nets, func(dir string) (container.Spec, error) {
		s := container.Spec{
			ID: n.Container, Parent: n.Parent, Alone: n.Parent == "", ShareCgroup: b.shares, Session: n.Session, User: as.name, Sandbox: dir,
			Env: a.nestedEnvironment(n, b.command, dir, p, nets),
		}
		if n.Session && b.command.GetUser() == "" {
			s.User = "" // its parent's
		}
		err := a.describe(&s, b)
		return s, err
	})
}

// joinNested puts a container that is below no other into its networks, or finds those of the one at the top; nil: the machine's.
func (a *Agent) joinNested(ctx context.Context, n *workload.Nested, b *blueprint) (*networked.Place, error) {
	switch {
	case n.Session:
		return nil, nil //nolint:nilnil // it is where its parent is
	case n.Parent != "":
		return a.networksOf(a.view.Load(), n), nil
	}
	nets, err := a.deps.Networks.Join(ctx, n.Container, b.container, b.ports)
	if err != nil {
		return nil, fmt.Errorf("The container cannot be joined to its networks: %w", err) //nolint:staticcheck // as above
	}
	return nets, nil
}

// networksOf finds the networks of a container of the API: those of the one at the top.
func (a *Agent) networksOf(v *workload.View, n *workload.Nested) *networked.Place {
	top, _, _ := strings.Cut(n.Path, ".")
	if alone := v.FindNested(top); alone != nil {
		top = alone.Spec.Container
	}
	return a.deps.Networks.Of(top)
}

// nestedEnvironment is what a container of the API finds. A session finds its parent's, and what it names itself.
func (a *Agent) nestedEnvironment(n *workload.Nested, c *mesosv1.CommandInfo, dir string, p *imaged.Picture, nets *networked.Place) []string {
	env := map[string]string{}
	if !n.Session {
		env["PATH"], env["MESOS_SANDBOX"], env["MESOS_CONTAINER_IP"] = defaultPath, dir, a.cfg.IP
		if nets != nil {
			env["MESOS_CONTAINER_IP"] = nets.Address()
		}
	}
	p.Environment(env, nets)
	return withOwn(env, c)
}

// started lists the containers of the API that run and that the reader may see.
func (r *reader) started(call *genagent.Call_GetContainers) []*genagent.Response_GetContainers_Container {
	var out []*genagent.Response_GetContainers_Container
	for _, v := range r.view.Nested {
		shown := call.GetShowNested()
		if v.Spec.Parent == "" {
			shown = call.GetShowStandalone()
		}
		if !shown || v.PID == 0 || v.Exit != nil || !r.may(v.Spec.User) {
			continue
		}
		s, err := r.agent.deps.Runtime.Stats(v.Spec.Container)
		if err != nil { // it ends just now
			continue
		}
		use := &mesosv1.ResourceStatistics{}
		_ = mesos.UnmarshalJSON(figures.Append(nil, &s, diskwatch.Use{}), use) // of our own making
		c := &genagent.Response_GetContainers_Container{ContainerId: workload.ContainerID(v.Spec.Path), ResourceStatistics: use}
		c.ContainerStatus = &mesosv1.ContainerStatus{ContainerId: c.ContainerId, ExecutorPid: &v.PID, NetworkInfos: r.agent.networksOf(r.view, v.Spec).Reported()}
		if v.Spec.Framework != "" {
			c.FrameworkId, c.ExecutorId = &mesosv1.FrameworkID{Value: &v.Spec.Framework}, &mesosv1.ExecutorID{Value: &v.Spec.Executor}
		}
		out = append(out, c)
	}
	return out
}

// removeNested removes the sandbox of a container that nobody needs any more.
func (a *Agent) removeNested(n *workload.Nested) {
	if n.Session {
		return
	}
	if err := sandbox.RemoveNested(n.Sandbox, strings.Count(n.Path, ".")); err != nil {
		a.deps.Log.Warn("the sandbox of a container cannot be removed", "container", n.Path, "error", err)
	}
}
