package v0

import (
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

// Executor is an executor of a framework's own, as masters show it.
type Executor struct {
	Framework, Agent, Role string
	Resources              resource.List
	// Info is the encoded ExecutorInfo.
	Info []byte
}

// Append appends the executor as one JSON object.
func (e *Executor) Append(dst []byte) []byte {
	i := executorInfo(e.Info)
	dst = Text(append(dst, `{"executor_id":`...), i.GetExecutorId().GetValue())
	dst = Text(append(dst, `,"name":`...), i.GetName())
	dst = Text(append(dst, `,"framework_id":`...), e.Framework)
	dst = appendCommand(append(dst, `,"command":`...), i.GetCommand())
	dst = e.Resources.AppendV0(append(dst, `,"resources":`...))
	if len(i.GetResources()) > 0 {
		dst = Text(append(dst, `,"role":`...), e.Role)
	}
	dst = appendKind(dst, i)
	return append(Text(append(dst, `,"slave_id":`...), e.Agent), '}')
}

// ExecutorKind appends, each with a comma before it, the members labels and type of an encoded ExecutorInfo, if it has them.
func ExecutorKind(dst, info []byte) []byte { return appendKind(dst, executorInfo(info)) }

func appendKind(dst []byte, i *mesosv1.ExecutorInfo) []byte {
	if i.Labels != nil {
		labels, _ := proto.MarshalOptions{AllowPartial: true}.Marshal(i.GetLabels()) // it was decoded
		dst = appendLabels(dst, labels)
	}
	if i.Type != nil {
		dst = Text(append(dst, `,"type":`...), i.GetType().String())
	}
	return dst
}

func executorInfo(b []byte) *mesosv1.ExecutorInfo {
	i := &mesosv1.ExecutorInfo{}
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(b, i) // what cannot be read says nothing
	return i
}

func appendCommand(dst []byte, c *mesosv1.CommandInfo) []byte {
	dst = append(dst, '{')
	if c != nil && c.Shell != nil {
		dst = append(Bool(append(dst, `"shell":`...), c.GetShell()), ',')
	}
	if c != nil && c.Value != nil {
		dst = append(Text(append(dst, `"value":`...), c.GetValue()), ',')
	}
	dst = Texts(append(dst, `"argv":`...), c.GetArguments())
	if c.GetEnvironment() != nil {
		dst = append(dst, `,"environment":{"variables":[`...)
		for n, v := range c.GetEnvironment().GetVariables() {
			dst = Text(append(Comma(dst, n), `{"name":`...), v.GetName())
			dst = append(Text(append(dst, `,"value":`...), v.GetValue()), '}')
		}
		dst = append(dst, "]}"...)
	}
	dst = append(dst, `,"uris":[`...)
	for n, u := range c.GetUris() {
		dst = Text(append(Comma(dst, n), `{"value":`...), u.GetValue())
		dst = append(Bool(append(dst, `,"executable":`...), u.GetExecutable()), '}')
	}
	return append(dst, "]}"...)
}
