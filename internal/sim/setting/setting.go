// Package setting is how a simulated agent is configured, and what of it may change under a --reconfiguration-policy. It is
// what internal/agent does with an AgentInfo, played.
package setting

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

// Policy is a --reconfiguration-policy.
type Policy int

// Policies, as internal/agent has them.
const (
	Equal Policy = iota
	Additive
	Any
)

// String is its name as the setting has it.
func (p Policy) String() string { return [...]string{"equal", "additive", "any"}[p] }

// Allows says whether an agent may be so now when it was that.
func (p Policy) Allows(was, is Setting) bool {
	switch p {
	case Equal:
		return was.Total.Equal(is.Total) && slices.Equal(was.Attributes, is.Attributes)
	case Additive:
		return is.Total.Contains(was.Total) && !slices.ContainsFunc(was.Attributes, func(x string) bool { return !slices.Contains(is.Attributes, x) })
	}
	return true
}

// Setting is how an agent is configured.
type Setting struct {
	Total      resource.List
	Attributes []string // name:text
}

// Info is the setting as it stands in the agent's journal.
func (s Setting) Info() []byte {
	return fmt.Appendf(nil, "%s|%s", s.Total, strings.Join(s.Attributes, ";"))
}

// Of reads an Info.
func Of(info []byte) Setting {
	total, attributes, _ := strings.Cut(string(info), "|")
	s := Setting{Total: Resources(total)}
	if attributes != "" {
		s.Attributes = strings.Split(attributes, ";")
	}
	return s
}

// Protos gives the attributes as the protocol has them.
func (s Setting) Protos() (out []*mesosv1.Attribute) {
	for _, x := range s.Attributes {
		name, text, _ := strings.Cut(x, ":")
		out = append(out, &mesosv1.Attribute{Name: &name, Type: mesosv1.Value_TEXT.Enum(), Text: &mesosv1.Value_Text{Value: &text}})
	}
	return out
}

// Resources reads resources of the role *; the text is right.
func Resources(text string) resource.List {
	l, err := resource.Parse(text, "*")
	if err != nil {
		panic(err)
	}
	return l
}
