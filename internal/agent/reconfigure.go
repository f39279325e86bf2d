package agent

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Policy says how an agent that is known to its cluster may differ from what it was.
type Policy string

// Policies, as the original has them.
const (
	// PolicyEqual allows no difference.
	PolicyEqual Policy = "equal"
	// PolicyAdditive allows more resources and attributes, on the same host and port.
	PolicyAdditive Policy = "additive"
	// PolicyAny allows everything.
	PolicyAny Policy = "any"
)

// Check refuses what is none of them.
func (p Policy) Check() error {
	switch p {
	case "", PolicyEqual, PolicyAdditive, PolicyAny:
		return nil
	}
	return fmt.Errorf("%q is not %s, %s or %s", string(p), PolicyEqual, PolicyAdditive, PolicyAny)
}

// refuse says how an agent differs from what it was, when its policy does not allow that; empty when it may.
func (p Policy) refuse(was, is *mesosv1.AgentInfo) (string, error) {
	if p == PolicyAny {
		return "", nil
	}
	had, _, err := resource.FromProto(was.GetResources())
	if err != nil {
		return "", fmt.Errorf("resources: %w", err)
	}
	has, _, err := resource.FromProto(is.GetResources())
	if err != nil {
		return "", fmt.Errorf("resources: %w", err)
	}
	resources, attributes := had.Equal(has), sameAttributes(was.GetAttributes(), is.GetAttributes())
	domain := proto.Equal(was.GetDomain(), is.GetDomain())
	if p == PolicyAdditive {
		domain = domain || was.GetDomain() == nil
		resources, attributes = has.Contains(had), moreAttributes(was.GetAttributes(), is.GetAttributes())
	}
	var differ []string
	for _, d := range []struct {
		ok        bool
		what      string
		were, are any
	}{
		{was.GetHostname() == is.GetHostname(), "hostname", was.GetHostname(), is.GetHostname()},
		{was.GetPort() == is.GetPort(), "port", was.GetPort(), is.GetPort()},
		{domain, "domain", mesos.FormatDomain(was.GetDomain()), mesos.FormatDomain(is.GetDomain())},
		{resources, "resources", had, has},
		{attributes, "attributes", mesos.FormatAttributes(was.GetAttributes()), mesos.FormatAttributes(is.GetAttributes())},
	} {
		if !d.ok {
			differ = append(differ, fmt.Sprintf("%s: %q before, %q now", d.what, fmt.Sprint(d.were), fmt.Sprint(d.are)))
		}
	}
	return strings.Join(differ, "; "), nil
}

// sameAttributes compares without regard to order.
func sameAttributes(a, b []*mesosv1.Attribute) bool {
	return slices.Equal(inOrder(a), inOrder(b))
}

func inOrder(list []*mesosv1.Attribute) []string {
	out := make([]string, 0, len(list))
	for _, a := range list {
		out = append(out, a.GetType().String()+" "+mesos.FormatAttributes([]*mesosv1.Attribute{a}))
	}
	slices.Sort(out)
	return out
}

// moreAttributes says whether every old attribute is there, of the same kind: a number no less, ranges no narrower, text the
// same.
func moreAttributes(was, is []*mesosv1.Attribute) bool {
	for _, old := range was {
		if !slices.ContainsFunc(is, func(a *mesosv1.Attribute) bool { return extends(a, old) }) {
			return false
		}
	}
	return true
}

func extends(a, old *mesosv1.Attribute) bool {
	if a.GetName() != old.GetName() || a.GetType() != old.GetType() {
		return false
	}
	switch a.GetType() {
	case mesosv1.Value_SCALAR:
		return a.GetScalar().GetValue() >= old.GetScalar().GetValue()
	case mesosv1.Value_RANGES:
		return spans(a).Contains(spans(old))
	}
	return a.GetText().GetValue() == old.GetText().GetValue()
}

// spans makes a resource of an attribute's ranges, which know how to be compared.
func spans(a *mesosv1.Attribute) resource.List {
	r := resource.Resource{Name: a.GetName(), Kind: resource.Ranges}
	for _, x := range a.GetRanges().GetRange() {
		r.Spans = append(r.Spans, resource.Span{Begin: x.GetBegin(), End: x.GetEnd()})
	}
	return resource.New(r)
}

// identify looks whether the agent may go on as whom its journal says that it is. After a reboot nothing of its tasks is
// left, so one that may not joins as a new agent; otherwise it must not start, since its tasks run. It gives the records to
// begin with.
func (a *Agent) identify(records []workload.Record) ([]workload.Record, error) {
	var was *workload.Identity
	for i := range records {
		if records[i].Identity != nil {
			was = records[i].Identity
		}
	}
	if was == nil || was.Agent == "" || len(was.Info) == 0 {
		return records, nil
	}
	var info mesosv1.AgentInfo
	if err := mesos.DecodeProto(was.Info, &info); err != nil {
		return nil, fmt.Errorf("the agent's own description in the journal cannot be read: %w", err)
	}
	is := a.agentInfo(was.Agent)
	if a.cfg.AnyPort {
		is.Port = new(info.GetPort())
	}
	differ, err := a.cfg.Reconfiguration.refuse(&info, is)
	if err != nil || differ == "" {
		return records, err
	}
	meta := filepath.Join(a.cfg.WorkDir, "meta")
	if was.Boot == a.cfg.Boot {
		return nil, fmt.Errorf("agent %s is not what it was when it registered last (%s), and --reconfiguration-policy=%s does not allow that; start it as it was, or with --reconfiguration-policy=additive (more) or any, or move %s away to join as a new agent, which loses the tasks that run here",
			was.Agent, differ, a.cfg.Reconfiguration, meta)
	}
	a.deps.Log.Warn("the machine was rebooted and is not what it was; it joins as a new agent", "was", was.Agent, "difference", differ)
	if k := workload.KeptOf(records); len(k.Resources)+len(k.Doomed) > 0 {
		return []workload.Record{{Kept: &k}}, nil // what is reserved here is so whatever the agent is called
	}
	return nil, nil
}
