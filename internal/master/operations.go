package master

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// maxOperation bounds the encoded description of an operation, which the agent writes down.
const maxOperation = 64 << 10

// change makes the book's value of an operation on resources, or says why it makes no sense. Where the operation does not say to
// which role its resources are allocated, role does.
func change(op *mesosv1.Offer_Operation, role string) (*cluster.Change, error) {
	o, err := mesos.CheckOperation(op)
	if err != nil {
		return nil, err
	}
	if o.Role != "" {
		role = o.Role
	}
	info, err := proto.MarshalOptions{Deterministic: true}.Marshal(mesos.Refined(op, role))
	if err != nil {
		return nil, fmt.Errorf("the operation cannot be encoded: %w", err)
	}
	if len(info) > maxOperation {
		return nil, fmt.Errorf("the operation has %d bytes, and no more than %d may be; use several, or fewer labels", len(info), maxOperation)
	}
	return &cluster.Change{ResourceOperation: o, Info: info}, nil
}

// operation makes the book's value of an ACCEPT's operation on resources; what is wrong with it is written into it.
func operation(op *mesosv1.Offer_Operation) cluster.Operation {
	o := cluster.Operation{ID: strings.Clone(op.GetId().GetValue()), Type: op.GetType()}
	if op.Id != nil {
		if err := mesos.CheckID(o.ID); err != nil {
			o.Invalid = "id.value: " + err.Error()
			return o
		}
	}
	var err error
	if o.Change, err = change(op, ""); err != nil {
		o.Invalid = err.Error()
	}
	return o
}

// operationEnd reads an operation's end as an agent tells it.
func operationEnd(uuid []byte, framework string, status []byte) (cluster.OperationEnd, error) {
	var s mesosv1.OperationStatus
	if err := mesos.DecodeProto(status, &s); err != nil {
		return cluster.OperationEnd{}, fmt.Errorf("operation's status: %w", err)
	}
	e := cluster.OperationEnd{
		UUID: string(uuid), Framework: framework, ID: s.GetOperationId().GetValue(), State: s.GetState(), Message: s.GetMessage(),
		Status: string(s.GetUuid().GetValue()),
	}
	switch {
	case len(e.UUID) != 16 || len(e.Status) != 16:
		return e, errors.New("operation's status: its uuid and the operation's must have 16 bytes")
	case len(e.Message) > maxOperation:
		return e, fmt.Errorf("operation's status: its message has %d bytes, and no more than %d may be", len(e.Message), maxOperation)
	}
	switch e.State {
	case mesosv1.OperationState_OPERATION_FINISHED, mesosv1.OperationState_OPERATION_FAILED, mesosv1.OperationState_OPERATION_ERROR, mesosv1.OperationState_OPERATION_DROPPED:
		return e, nil
	}
	return e, fmt.Errorf("operation's status: %v is no end of an operation", e.State)
}

// reportedOperation reads an operation that an agent reports when it registers.
func reportedOperation(r *link.OperationReport) (cluster.OperationEnd, error) {
	o := r.GetOperation()
	e, err := operationEnd(o.GetUuid(), o.GetFrameworkId(), r.GetStatus())
	if err == nil && len(o.GetOperation()) > 2*maxOperation {
		err = fmt.Errorf("operation %x: it has %d bytes, and no more than %d may be", o.GetUuid(), len(o.GetOperation()), 2*maxOperation)
	}
	e.Info = o.GetOperation()
	return e, err
}

// linkOperation is an operation as it goes to its agent.
func linkOperation(o *cluster.AgentOperation) *link.Operation {
	return &link.Operation{Uuid: []byte(o.UUID), FrameworkId: o.Framework, Operation: o.Info}
}

// operatorsOperation makes an operation of an operator's call, and says for which agent; nil for other calls.
func operatorsOperation(c *master.Call) (agent string, op *mesosv1.Offer_Operation) {
	switch c.GetType() {
	case master.Call_RESERVE_RESOURCES:
		x := c.GetReserveResources()
		return x.GetAgentId().GetValue(), &mesosv1.Offer_Operation{
			Type: mesosv1.Offer_Operation_RESERVE.Enum(), Reserve: &mesosv1.Offer_Operation_Reserve{Source: x.GetSource(), Resources: x.GetResources()},
		}
	case master.Call_UNRESERVE_RESOURCES:
		x := c.GetUnreserveResources()
		return x.GetAgentId().GetValue(), &mesosv1.Offer_Operation{
			Type: mesosv1.Offer_Operation_UNRESERVE.Enum(), Unreserve: &mesosv1.Offer_Operation_Unreserve{Resources: x.GetResources()},
		}
	case master.Call_CREATE_VOLUMES:
		x := c.GetCreateVolumes()
		return x.GetAgentId().GetValue(), &mesosv1.Offer_Operation{
			Type: mesosv1.Offer_Operation_CREATE.Enum(), Create: &mesosv1.Offer_Operation_Create{Volumes: x.GetVolumes()},
		}
	case master.Call_DESTROY_VOLUMES:
		x := c.GetDestroyVolumes()
		return x.GetAgentId().GetValue(), &mesosv1.Offer_Operation{
			Type: mesosv1.Offer_Operation_DESTROY.Enum(), Destroy: &mesosv1.Offer_Operation_Destroy{Volumes: x.GetVolumes()},
		}
	case master.Call_GROW_VOLUME:
		x := c.GetGrowVolume()
		return x.GetAgentId().GetValue(), &mesosv1.Offer_Operation{
			Type: mesosv1.Offer_Operation_GROW_VOLUME.Enum(), GrowVolume: &mesosv1.Offer_Operation_GrowVolume{Volume: x.GetVolume(), Addition: x.GetAddition()},
		}
	case master.Call_SHRINK_VOLUME:
		x := c.GetShrinkVolume()
		return x.GetAgentId().GetValue(), &mesosv1.Offer_Operation{
			Type: mesosv1.Offer_Operation_SHRINK_VOLUME.Enum(), ShrinkVolume: &mesosv1.Offer_Operation_ShrinkVolume{Volume: x.GetVolume(), Subtract: x.GetSubtract()},
		}
	}
	return "", nil
}

// changeResources carries out an operator's operation. Whom an agent's resources are for is root's to say.
func (t *term) changeResources(w http.ResponseWriter, r *http.Request, agent string, op *mesosv1.Offer_Operation) {
	if who := serve.Who(r); !who.Root {
		serve.Fail(w, http.StatusForbidden, "Only root may change reservations and volumes here, and you are "+who.User+"; --trust-loopback lifts that.")
		return
	}
	c, err := change(op, "")
	if err != nil {
		serve.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	a, err := t.ask(r.Context(), func(id cluster.CallID) cluster.In { return &cluster.ChangeResources{Call: id, Agent: agent, Change: c} })
	switch {
	case err != nil:
		t.unavailable(w, err)
	case a.Kind == cluster.Done:
		w.WriteHeader(http.StatusAccepted)
	default:
		answer(w, a)
	}
}

// serveForm answers one of the forms of before the v1 API: the agent's id in slaveId, and a JSON array of resources in a field.
func (m *Master) serveForm(field string, operation func(resources, source []*mesosv1.Resource) *mesosv1.Offer_Operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t := m.leading(w, r)
		if t == nil || !serve.Post(w, r) {
			return
		}
		form, ok := serve.Form(w, r, "name fewer "+field)
		if !ok {
			return
		}
		agent := form.Get("slaveId")
		if agent == "" {
			serve.Fail(w, http.StatusBadRequest, "The form must have the field slaveId, with the id of an agent.")
			return
		}
		all, err := formResources(form.Get(field))
		if err == nil && len(all) == 0 {
			err = errors.New("it is missing or empty; give a JSON array of resources")
		}
		if err != nil {
			serve.Fail(w, http.StatusBadRequest, "The form's field "+field+" cannot be read: "+err.Error())
			return
		}
		source, err := formResources(form.Get("source"))
		if err != nil {
			serve.Fail(w, http.StatusBadRequest, "The form's field source cannot be read: "+err.Error())
			return
		}
		t.changeResources(w, r, agent, operation(all, source))
	}
}

// formResources reads a JSON array of resources; nothing is none.
func formResources(text string) ([]*mesosv1.Resource, error) {
	if text == "" {
		return nil, nil
	}
	var list mesosv1.Offer_Operation_Unreserve // it has nothing but resources
	err := mesos.UnmarshalJSON([]byte(`{"resources":`+text+`}`), &list)
	return list.GetResources(), err
}

// forms adds the forms that change reservations and volumes.
func (m *Master) forms(mux *serve.Mux) {
	type list = []*mesosv1.Resource
	mux.Exact("/reserve", m.serveForm("resources", func(all, source list) *mesosv1.Offer_Operation {
		return &mesosv1.Offer_Operation{Type: mesosv1.Offer_Operation_RESERVE.Enum(), Reserve: &mesosv1.Offer_Operation_Reserve{Resources: all, Source: source}}
	}))
	mux.Exact("/unreserve", m.serveForm("resources", func(all, _ list) *mesosv1.Offer_Operation {
		return &mesosv1.Offer_Operation{Type: mesosv1.Offer_Operation_UNRESERVE.Enum(), Unreserve: &mesosv1.Offer_Operation_Unreserve{Resources: all}}
	}))
	mux.Exact("/create-volumes", m.serveForm("volumes", func(all, _ list) *mesosv1.Offer_Operation {
		return &mesosv1.Offer_Operation{Type: mesosv1.Offer_Operation_CREATE.Enum(), Create: &mesosv1.Offer_Operation_Create{Volumes: all}}
	}))
	mux.Exact("/destroy-volumes", m.serveForm("volumes", func(all, _ list) *mesosv1.Offer_Operation {
		return &mesosv1.Offer_Operation{Type: mesosv1.Offer_Operation_DESTROY.Enum(), Destroy: &mesosv1.Offer_Operation_Destroy{Volumes: all}}
	}))
}
