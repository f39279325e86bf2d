// Package reconfigure says how an agent that its cluster knows may differ from what it was.
package reconfigure

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Policy is what an agent is set to.
type Policy string

// Policies, as the original has them.
const (
	// Equal allows no difference.
	Equal Policy = "equal"
	// Additive allows more resources and attributes, on the same host and port.
	Additive Policy = "additive"
	// Any allows everything.
	Any Policy = "any"
)

// Check refuses what is none of them.
func (p Policy) Check() error {
	switch p {
	case "", Equal, Additive, Any:
		return nil
	}
	return fmt.Errorf("%q is not %s, %s or %s", string(p), Equal, Additive, Any)
}

// Refuse says how an agent differs from what it was, when its policy does not allow that; empty when it may.
func (p Policy) Refuse(was, is *mesosv1.AgentInfo) (string, error) {
	if p == Any {
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
	if p == Additive {
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
