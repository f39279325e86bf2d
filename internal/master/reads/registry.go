package reads

import (
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/mesos"
	v0 "github.com/pando-os/pando/mesos/v0"
)

// Registry shows what a master keeps of its agents, as /registrar(1)/registry does.
func (r *Reader) Registry(master *mesosv1.MasterInfo) ([]byte, error) {
	dst, err := mesos.AppendJSON([]byte(`{"master":{"info":`), master)
	dst = append(dst, `},"slaves":{"slaves":[`...)
	n := 0
	r.View.Agents(func(a *cluster.Agent) bool {
		if a.Mark == cluster.Admitted && err == nil {
			dst, err = mesos.AppendJSON(append(v0.Comma(dst, n), `{"info":`...), agentInfo(a))
			dst = append(dst, '}')
			n++
		}
		return err == nil
	})
	dst = append(dst, "]}"...)
	dst = r.appendMarked(dst, "unreachable", cluster.Unreachable)
	dst = r.appendMarked(dst, "gone", cluster.Gone)
	return append(dst, '}'), err
}

// appendMarked appends the ids of the agents that have a mark.
func (r *Reader) appendMarked(dst []byte, name string, mark cluster.Mark) []byte {
	dst = append(append(append(dst, `,"`...), name...), `":{"slaves":[`...)
	n := 0
	r.View.Agents(func(a *cluster.Agent) bool {
		if a.Mark == mark {
			dst = append(v0.Text(append(v0.Comma(dst, n), `{"id":{"value":`...), a.Spec.ID), "}}"...)
			n++
		}
		return true
	})
	return append(dst, "]}"...)
}
