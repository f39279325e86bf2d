package agent

import (
	"context"
	"fmt"
	"os/user"
	"slices"
	"strconv"
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
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/fetch"
	"github.com/pando-os/pando/internal/host"
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
	var call genagent.Call_LaunchContainer
	if err := proto.Unmarshal(n.Launch, &call); err != nil {
		return refuse("The call cannot be read: " + err.Error())
	}
	share := true
	if l := call.GetContainer().GetLinuxInfo(); l != nil && l.ShareCgroups != nil && n.Parent != "" {
		share, l.ShareCgroups = l.GetShareCgroups(), nil
	}
	if imaged.Wants(call.GetContainer()) {
		return refuse("An image of a container by call (container.mesos.image) is not supported by this version of Pando yet; launch it as a task of a group.")
	}
	if why := support.Lacks(&mesosv1.TaskInfo{Command: call.GetCommand(), Container: call.GetContainer()}); why != "" {
		return refuse(why)
	}
	if n.Parent != "" && len(call.GetContainer().GetNetworkInfos()) > 0 {
		return refuse("A container below another has the other's networks; leave container.network_infos out.")
	}
	linux := call.GetContainer().GetLinuxInfo()
	if n.Session && linux.GetSeccomp() != nil {
		return refuse("A session is confined as the container that it is below; leave container.linux_info.seccomp out.")
	}
	if why := confine.Untrusted(linux); why != "" && !a.trusts(n.User) {
		return refuse(why)
	}
	if err := a.resolve(ctx, mesos.CommandSecrets(call.GetCommand())); err != nil {
		return refuse("The container's secrets cannot be resolved: " + err.Error() + ".")
	}
	b, err := a.nestedBlueprint(n, &call)
	if err != nil {
		return refuse(err.Error())
	}
	owner, uid, gid := (*host.User)(nil), -1, -1
	as := n.User
	if a.cfg.SwitchUser {
		u, err := host.LookupUser(as)
		if err != nil {
			return refuse("The container cannot run as user " + strconv.Quote(as) + " on this machine: " + err.Error())
		}
		owner, uid, gid = &u, int(u.UID), int(u.GID)
	} else if why := a.foreign(as); why != "" {
		return refuse(why)
	} else {
		as = ""
	}
	nets, err := a.joinNested(ctx, n, b)
	if err != nil {
		return refuse(err.Error())
	}
	runs := false
	defer func() {
		if !runs && n.Parent == "" {
			_ = a.deps.Networks.Leave(context.WithoutCancel(ctx), n.Container) // it is tried again
		}
	}()
	s := container.Spec{ID: n.Container, Parent: n.Parent, Alone: n.Parent == "", Session: n.Session, User: as, Sandbox: n.Sandbox, Env: a.nestedEnvironment(n, b.command, nets)}
	s.ShareCgroup = n.Parent != "" && share
	if n.Session && b.command.GetUser() == "" {
		s.User = "" // its parent's
	}
	if !n.Session {
		dir, root, err := sandbox.CreateNested(n.Sandbox, strings.Count(n.Path, "."), uid, gid)
		if err != nil {
			return refuse("The sandbox cannot be made: " + err.Error())
		}
		defer root.Close()
		s.Sandbox = dir
		if uris := b.command.GetUris(); len(uris) > 0 {
			if err := a.deps.Fetcher.Fetch(ctx, fetch.Job{Sandbox: dir, Root: root, User: owner, URIs: fetches(uris)}); err != nil {
				return refuse("The container's files cannot be fetched: " + err.Error())
			}
		}
	}
	err = a.describe(&s, b)
	if err == nil {
		err = a.cfg.Confine.Filter(&s, linux.GetSeccomp(), a.trusts(n.User))
	}
	if err != nil {
		return refuse("The container cannot be described: " + err.Error())
	}
	nets.Show(&s)
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

// joinNested puts a container that is below no other into its networks, or finds those of the one that it is below; nil: the machine's.
func (a *Agent) joinNested(ctx context.Context, n *workload.Nested, b *blueprint) (*networked.Place, error) {
	switch {
	case n.Session:
		return nil, nil //nolint:nilnil // it is where its parent is
	case n.Parent != "":
		return a.deps.Networks.Of(n.Parent), nil
	}
	nets, err := a.deps.Networks.Join(ctx, n.Container, b.container, b.ports)
	if err != nil {
		return nil, fmt.Errorf("The container cannot be joined to its networks: %w", err) //nolint:staticcheck // as above
	}
	return nets, nil
}

// nestedBlueprint reads what a launch asks for.
func (a *Agent) nestedBlueprint(n *workload.Nested, call *genagent.Call_LaunchContainer) (*blueprint, error) {
	b := &blueprint{command: call.GetCommand(), container: call.GetContainer()}
	list, _, err := resource.FromProto(call.GetResources())
	if err != nil {
		return nil, err
	}
	b.ports = list.Spans("ports")
	if n.Parent == "" || len(list) > 0 || len(call.GetLimits()) > 0 {
		b.limits = bounds.Of(list, call.GetLimits(), bounds.Extra{}, a.cfg.Quota)
	}
	return b, nil
}

// nestedEnvironment is what a container of the API finds. A session finds its parent's, and what it names itself.
func (a *Agent) nestedEnvironment(n *workload.Nested, c *mesosv1.CommandInfo, nets *networked.Place) []string {
	env := map[string]string{}
	if !n.Session {
		env["PATH"], env["MESOS_SANDBOX"], env["MESOS_CONTAINER_IP"] = defaultPath, n.Sandbox, a.cfg.IP
		if nets != nil {
			env["MESOS_CONTAINER_IP"] = nets.Address()
		}
	}
	for _, v := range c.GetEnvironment().GetVariables() {
		env[v.GetName()] = mesos.ValueOf(v)
	}
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
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
		_ = mesos.UnmarshalJSON(appendStats(nil, &s, diskwatch.Use{}), use) // of our own making
		c := &genagent.Response_GetContainers_Container{ContainerId: workload.ContainerID(v.Spec.Path), ResourceStatistics: use}
		c.ContainerStatus = &mesosv1.ContainerStatus{ContainerId: c.ContainerId, ExecutorPid: &v.PID, NetworkInfos: r.agent.deps.Networks.Of(v.Spec.Container).Reported()}
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
