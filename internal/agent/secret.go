package agent

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/secrets"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
)

// kept is what the vault has of a task: the values that its TaskInfo lacks. It is read before anything can end the task.
type kept struct {
	values [][]byte
	err    error
}

func keyOf(t *workload.Task) secrets.Key {
	return secrets.Key{Framework: t.Framework, Task: t.ID, Launch: t.Launch}
}

// keep stores the values of a task that has arrived. Nothing of it is recorded yet.
func (a *Agent) keep(t *workload.Task, values [][]byte) error { return a.vault.Put(keyOf(t), values) }

func (a *Agent) keptOf(t *workload.Task) (k kept) {
	if t.Secrets {
		k.values, k.err = a.vault.Get(keyOf(t))
	}
	return k
}

// whole decodes a task with what is kept of it.
func (k kept) whole(t *workload.Task) (*mesosv1.TaskInfo, error) {
	info := &mesosv1.TaskInfo{}
	err := k.err
	if err == nil {
		err = proto.Unmarshal(t.Info, info)
	}
	if err == nil && t.Secrets {
		err = mesos.FillSecrets(mesos.TaskSecrets(info), k.values)
	}
	return info, err
}

// checkSecrets are those of a task's checks.
func checkSecrets(t *mesosv1.TaskInfo) []*mesosv1.Secret {
	return slices.Concat(mesos.CommandSecrets(t.GetHealthCheck().GetCommand()), mesos.CommandSecrets(t.GetCheck().GetCommand().GetCommand()))
}

// resolve finds out the values of secrets, and puts them in their place.
func (a *Agent) resolve(ctx context.Context, list []*mesosv1.Secret) error {
	return secrets.Resolve(ctx, a.deps.Secrets, list)
}

// dropSecrets forgets the values of a task that has ended, or that was not taken on.
func (a *Agent) dropSecrets(f *workload.Fact) {
	switch {
	case f.Kind == workload.FactTaskState && workload.Terminal(f.State), f.Kind == workload.FactTaskForgotten, f.Kind == workload.FactMessageDropped && f.Launch != 0:
	default:
		return
	}
	if err := a.vault.Drop(secrets.Key{Framework: f.Framework, Task: f.Task, Launch: f.Launch}); err != nil {
		a.deps.Log.Error("the secrets of a task that has ended cannot be removed; it is tried again when the agent starts", "task", f.Task, "error", err)
	}
}

// dropSecretFiles removes what was made for the volumes of a container that has ended.
func (a *Agent) dropSecretFiles(container string) {
	if err := a.vault.DropFiles(container); err != nil {
		a.deps.Log.Error("the secrets of a container that has ended cannot be removed; it is tried again when the agent starts", "container", container, "error", err)
	}
}

// retainSecrets removes what an earlier run of the agent left of what is not here any more.
func (a *Agent) retainSecrets(containers []string) {
	var keys []secrets.Key
	for _, t := range a.view.Load().Tasks {
		if t.Task.Secrets && !t.Ended {
			keys = append(keys, keyOf(t.Task))
		}
	}
	if err := a.vault.Retain(keys, containers); err != nil {
		a.deps.Log.Error("secrets of earlier tasks cannot be removed", "error", err)
	}
}
