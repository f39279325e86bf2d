package mesos

import (
	"errors"
	"slices"

	"github.com/pando-os/pando/gen/mesosv1"
)

// TaskSecrets lists the secrets of a task, its executor's among them, in an order that the message alone decides.
func TaskSecrets(t *mesosv1.TaskInfo) []*mesosv1.Secret {
	if t == nil {
		return nil
	}
	out := slices.Concat(CommandSecrets(t.GetCommand()), ContainerSecrets(t.GetContainer()), resourceSecrets(t.GetResources()))
	out = append(out, CommandSecrets(t.GetHealthCheck().GetCommand())...)
	out = append(out, CommandSecrets(t.GetCheck().GetCommand().GetCommand())...)
	return append(out, ExecutorSecrets(t.GetExecutor())...)
}

// ExecutorSecrets lists those of an executor.
func ExecutorSecrets(e *mesosv1.ExecutorInfo) []*mesosv1.Secret {
	return slices.Concat(CommandSecrets(e.GetCommand()), ContainerSecrets(e.GetContainer()), resourceSecrets(e.GetResources()))
}

// CommandSecrets lists those of a command: they are in its environment.
func CommandSecrets(c *mesosv1.CommandInfo) (out []*mesosv1.Secret) {
	for _, v := range c.GetEnvironment().GetVariables() {
		if v.Secret != nil {
			out = append(out, v.Secret)
		}
	}
	return out
}

// ContainerSecrets lists those of a container: its images' credentials, and its volumes.
func ContainerSecrets(c *mesosv1.ContainerInfo) []*mesosv1.Secret {
	out := imageSecrets(c.GetMesos().GetImage())
	for _, v := range c.GetVolumes() {
		out = append(out, volumeSecrets(v)...)
	}
	return out
}

func resourceSecrets(list []*mesosv1.Resource) (out []*mesosv1.Secret) {
	for _, r := range list {
		out = append(out, volumeSecrets(r.GetDisk().GetVolume())...)
	}
	return out
}

func imageSecrets(i *mesosv1.Image) []*mesosv1.Secret {
	if s := i.GetDocker().GetConfig(); s != nil {
		return []*mesosv1.Secret{s}
	}
	return nil
}

func volumeSecrets(v *mesosv1.Volume) []*mesosv1.Secret {
	if v == nil {
		return nil
	}
	out := imageSecrets(v.GetImage())
	if s := v.GetSource().GetSecret(); s != nil {
		out = append(out, s)
	}
	p := v.GetSource().GetCsiVolume().GetStaticProvisioning()
	for _, m := range []map[string]*mesosv1.Secret{p.GetNodeStageSecrets(), p.GetNodePublishSecrets()} {
		for _, name := range sortedKeys(m) {
			if m[name] != nil {
				out = append(out, m[name])
			}
		}
	}
	return out
}

// ValueOf gives the value of a variable: that of its secret, if it has one.
func ValueOf(v *mesosv1.Environment_Variable) string {
	if v.GetType() == mesosv1.Environment_Variable_SECRET {
		return string(v.GetSecret().GetValue().GetData())
	}
	return v.GetValue()
}

// HoldsSecrets says whether any of some secrets has its value in it.
func HoldsSecrets(list []*mesosv1.Secret) bool {
	return slices.ContainsFunc(list, func(s *mesosv1.Secret) bool { return s.Value != nil })
}

// CutSecrets takes the values out of secrets, in their order. What is left is of the type VALUE and has none: so a message is
// recorded and shown.
func CutSecrets(list []*mesosv1.Secret) (values [][]byte) {
	for _, s := range list {
		if s.Value == nil && s.GetType() != mesosv1.Secret_VALUE {
			continue
		}
		values = append(values, s.GetValue().GetData())
		s.Type, s.Value = mesosv1.Secret_VALUE.Enum(), nil
	}
	return values
}

// FillSecrets puts back what CutSecrets took.
func FillSecrets(list []*mesosv1.Secret, values [][]byte) error {
	for _, s := range list {
		if s.Value != nil || s.GetType() != mesosv1.Secret_VALUE {
			continue
		}
		if len(values) == 0 {
			return errors.New("there are fewer values than secrets")
		}
		s.Value, values = &mesosv1.Secret_Value{Data: values[0]}, values[1:]
	}
	if len(values) > 0 {
		return errors.New("there are more values than secrets")
	}
	return nil
}
