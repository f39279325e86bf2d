package mesos

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos/internal/codec"
	"github.com/pando-os/pando/mesos/resource"
)

// Offer is an Offer as the hot paths hold it. It is a value; nothing in it is changed in place.
type Offer struct {
	ID, FrameworkID, AgentID, Hostname string
	Role                               string // that the resources are allocated to
	Resources                          resource.List
	Format                             resource.Format // that the framework reads
	// LegacyRole leaves out allocation_info everywhere: the framework is older than MULTI_ROLE.
	LegacyRole  bool
	ExecutorIDs []string // the framework's executors on the agent
	Agent       *AgentFace
}

// AgentFace is what every offer of one agent says the same way, encoded once. It is shared and
// never changed.
type AgentFace struct {
	proto string
	json  string // members, each with a comma before it
}

// NewAgentFace encodes an agent's url, fault domain, attributes and, where its machine has a
// maintenance window, unavailability. Whatever is nil is left out.
func NewAgentFace(url *mesosv1.URL, domain *mesosv1.DomainInfo, attributes []*mesosv1.Attribute, unavailability *mesosv1.Unavailability) (*AgentFace, error) {
	o := &mesosv1.Offer{Url: url, Domain: domain, Attributes: attributes, Unavailability: unavailability}
	wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(o)
	if err != nil {
		return nil, err
	}
	text, err := codec.AppendJSON(nil, o)
	if err != nil {
		return nil, err
	}
	face := &AgentFace{proto: string(wire)}
	if len(text) > len("{}") {
		face.json = "," + string(text[1:len(text)-1])
	}
	return face, nil
}

// The numbers of Offer's fields.
const (
	offerID          protowire.Number = 1
	offerFrameworkID protowire.Number = 2
	offerAgentID     protowire.Number = 3
	offerHostname    protowire.Number = 4
	offerResources   protowire.Number = 5
	offerExecutorIDs protowire.Number = 6
	offerAllocation  protowire.Number = 10
)

// allocation is the role that the offer's members name.
func (o *Offer) allocation() string {
	if o.LegacyRole {
		return ""
	}
	return o.Role
}

// AppendProto appends the offer as an encoded Offer. It allocates nothing, but for the first time
// that it meets a reservation or disk.
func (o *Offer) AppendProto(dst []byte) []byte {
	dst = appendID(dst, offerID, o.ID)
	dst = appendID(dst, offerFrameworkID, o.FrameworkID)
	dst = appendID(dst, offerAgentID, o.AgentID)
	dst = appendText(dst, offerHostname, o.Hostname)
	role := o.allocation()
	dst = o.Resources.AppendProto(dst, offerResources, role, o.Format)
	for _, id := range o.ExecutorIDs {
		dst = appendID(dst, offerExecutorIDs, id)
	}
	if role != "" {
		dst = appendID(dst, offerAllocation, role) // AllocationInfo is like an id
	}
	if o.Agent != nil {
		dst = append(dst, o.Agent.proto...)
	}
	return dst
}

// AppendJSON appends the offer as a JSON object. It allocates as AppendProto does.
func (o *Offer) AppendJSON(dst []byte) []byte {
	dst = appendIDJSON(dst, `{"id":{"value":`, o.ID)
	dst = appendIDJSON(dst, `,"framework_id":{"value":`, o.FrameworkID)
	dst = appendIDJSON(dst, `,"agent_id":{"value":`, o.AgentID)
	dst = append(dst, `,"hostname":`...)
	dst = codec.AppendString(dst, o.Hostname)
	role := o.allocation()
	if role != "" {
		dst = appendIDJSON(dst, `,"allocation_info":{"role":`, role)
	}
	if len(o.Resources) > 0 {
		dst = append(dst, `,"resources":`...)
		dst = o.Resources.AppendJSON(dst, role, o.Format)
	}
	if len(o.ExecutorIDs) > 0 {
		dst = append(dst, `,"executor_ids":[`...)
		for i, id := range o.ExecutorIDs {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendIDJSON(dst, `{"value":`, id)
		}
		dst = append(dst, ']')
	}
	if o.Agent != nil {
		dst = append(dst, o.Agent.json...)
	}
	return append(dst, '}')
}

// AppendOffersEvent appends a scheduler's OFFERS event, as JSON or protobuf, without the framing
// of RecordIO. It allocates as the offers do.
func AppendOffersEvent(dst []byte, offers []*Offer, json bool) []byte {
	if json {
		dst = append(dst, `{"type":"OFFERS","offers":{"offers":[`...)
		for i, o := range offers {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = o.AppendJSON(dst)
		}
		return append(dst, "]}}"...)
	}
	dst = appendUint(dst, eventType, uint64(scheduler.Event_OFFERS))
	dst = protowire.AppendTag(dst, eventOffers, protowire.BytesType)
	all := len(dst)
	for _, o := range offers {
		dst = protowire.AppendTag(dst, 1, protowire.BytesType)
		one := len(dst)
		dst = o.AppendProto(dst)
		dst = closeBytes(dst, one)
	}
	return closeBytes(dst, all)
}
