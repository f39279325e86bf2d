package mesos

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos/internal/random"
	"github.com/pando-os/pando/mesos/resource"
)

// drawStatus draws a TaskStatus that a Status can hold: what is empty is unset.
func drawStatus(r *rand.Rand) *mesosv1.TaskStatus {
	s := random.Message(r, &mesosv1.TaskStatus{}).(*mesosv1.TaskStatus)
	if s.Source == nil {
		s.Source = mesosv1.TaskStatus_SOURCE_MASTER.Enum()
	}
	if s.GetMessage() == "" {
		s.Message = nil
	}
	if s.GetTimestamp() == 0 {
		s.Timestamp = nil
	}
	if s.AgentId.GetValue() == "" {
		s.AgentId = nil
	}
	if s.ExecutorId.GetValue() == "" {
		s.ExecutorId = nil
	}
	if len(s.Uuid) == 0 {
		s.Uuid = nil
	}
	if s.UnreachableTime.GetNanoseconds() == 0 {
		s.UnreachableTime = nil
	}
	return s
}

func TestStatusesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := seeded(t)
		want := drawStatus(r)
		wire, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseStatus(wire)
		if err != nil {
			t.Fatal(err)
		}
		checkEvent(t, &scheduler.Event{Type: scheduler.Event_UPDATE.Enum(), Update: &scheduler.Event_Update{Status: want}}, AppendUpdateEvent([]byte("x"), &s, false)[1:], AppendUpdateEvent([]byte("x"), &s, true)[1:])
		bare := s.WithoutData()
		want.Data = nil
		got := &mesosv1.TaskStatus{}
		if err := DecodeProto(bare.AppendProto(nil), got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Fatalf("without data: %s", diff)
		}
	})
}

// seeded gives the randomness of one check, which rapid can draw again.
func seeded(t *rapid.T) *rand.Rand {
	return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
}

// checkEvent wants both encodings to mean the event.
func checkEvent(t rapid.TB, want *scheduler.Event, wire, text []byte) {
	t.Helper()
	var fromWire, fromJSON scheduler.Event
	if err := DecodeProto(wire, &fromWire); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &fromWire, protocmp.Transform()); diff != "" {
		t.Fatalf("proto: %s", diff)
	}
	if err := UnmarshalJSON(text, &fromJSON); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	general, err := AppendJSON(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(anyOf(t, general), anyOf(t, text)); diff != "" {
		t.Fatalf("JSON: %s", diff)
	}
}

func anyOf(t rapid.TB, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestBadStatuses(t *testing.T) {
	for name, b := range map[string][]byte{"nothing": nil, "no state": {0x0a, 0x02, 0x0a, 0x00}, "cut off": {0x0a, 0x05, 0x0a}, "no TaskStatus": []byte("\xff\xff\xff"), "an unknown state": {0x0a, 0x02, 0x0a, 0x00, 0x10, 0x63}} {
		if s, err := ParseStatus(b); err == nil {
			t.Errorf("%s was taken as %+v", name, s)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 20 {
		wire, _ := proto.Marshal(drawStatus(r))
		f.Add(wire)
	}
	f.Add([]byte("\n\x05\n\x03000\x10\r\xa9\xcc\xcc\xcc000000000")) // a field's number that is too large
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStatus(b)
		if err != nil {
			return
		}
		var want, got mesosv1.TaskStatus
		if err := proto.Unmarshal(b, &want); err != nil {
			t.Fatalf("took what protobuf does not: %v", err)
		}
		if err := proto.Unmarshal(s.AppendProto(nil), &got); err != nil {
			t.Fatalf("wrote what protobuf does not take: %v", err)
		}
		if _, known := mesosv1.TaskState_name[int32(want.GetState())]; !known {
			return // Go's protobuf keeps numbers without a name; a Status, like the original, does not
		}
		if want.TaskId.GetValue() != got.TaskId.GetValue() || want.GetState() != got.GetState() || want.GetMessage() != got.GetMessage() || string(want.Uuid) != string(got.Uuid) {
			t.Fatalf("%v became %v", &want, &got)
		}
		if !json.Valid(s.AppendJSON(nil)) {
			t.Fatal("wrote no JSON")
		}
	})
}

func drawOffer(r *rand.Rand, t rapid.TB) *Offer {
	lists := []string{"", "cpus:4;mem:1024.5;disk:10;ports:[31000-32000]", "cpus(a):0.1;cpus:1;set:{x,y}", "gpus:1;cpus{REV}:2"}
	l, err := resource.Parse(lists[r.IntN(len(lists))], "*")
	if err != nil {
		t.Fatal(err)
	}
	like := random.Message(r, &mesosv1.Offer{}).(*mesosv1.Offer)
	face, err := NewAgentFace(like.Url, like.Domain, like.Attributes, like.Unavailability)
	if err != nil {
		t.Fatal(err)
	}
	o := &Offer{ID: random.String(r), FrameworkID: random.String(r), AgentID: random.String(r), Hostname: random.String(r), Role: "a/b", Resources: l, Format: resource.Format(r.IntN(2)), LegacyRole: r.IntN(2) == 0, Agent: face}
	for range r.IntN(3) {
		o.ExecutorIDs = append(o.ExecutorIDs, random.String(r))
	}
	if r.IntN(4) == 0 {
		o.Agent = nil
	}
	return o
}

// message is the offer as a generated message, put together the slow way.
func (o *Offer) message(t rapid.TB) *mesosv1.Offer {
	m := &mesosv1.Offer{}
	if o.Agent != nil {
		if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal([]byte(o.Agent.proto), m); err != nil {
			t.Fatal(err)
		}
	}
	m.Id, m.FrameworkId, m.AgentId = &mesosv1.OfferID{Value: &o.ID}, &mesosv1.FrameworkID{Value: &o.FrameworkID}, &mesosv1.AgentID{Value: &o.AgentID}
	m.Hostname = &o.Hostname
	m.Resources = o.Resources.ToProto(o.allocation(), o.Format)
	for _, id := range o.ExecutorIDs {
		m.ExecutorIds = append(m.ExecutorIds, &mesosv1.ExecutorID{Value: new(id)})
	}
	if !o.LegacyRole {
		m.AllocationInfo = &mesosv1.Resource_AllocationInfo{Role: &o.Role}
	}
	return m
}

func TestOffersEventsSayWhatTheMessagesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := seeded(t)
		want := &scheduler.Event{Type: scheduler.Event_OFFERS.Enum(), Offers: &scheduler.Event_Offers{}}
		var offers []*Offer
		for range r.IntN(4) {
			offers = append(offers, drawOffer(r, t))
			want.Offers.Offers = append(want.Offers.Offers, offers[len(offers)-1].message(t))
		}
		wire, text := AppendOffersEvent([]byte("x"), offers, false)[1:], AppendOffersEvent([]byte("x"), offers, true)[1:]
		if len(offers) > 0 {
			checkEvent(t, want, wire, text)
		}
	})
}

func TestTheStreamsAllocateNothing(t *testing.T) {
	o, s := benchmarkOffer(t), benchmarkStatus(t)
	buf := make([]byte, 0, 64<<10)
	for name, f := range map[string]func(){
		"offers as protobuf": func() { AppendOffersEvent(buf, []*Offer{o}, false) },
		"offers as JSON":     func() { AppendOffersEvent(buf, []*Offer{o}, true) },
		"update as protobuf": func() { AppendUpdateEvent(buf, s, false) },
		"update as JSON":     func() { AppendUpdateEvent(buf, s, true) },
	} {
		f()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// benchmarkOffer is the offer that performance is measured with: eight resources, two of them
// reserved with labels, and four attributes.
func benchmarkOffer(t rapid.TB) *Offer {
	l, err := resource.Parse("cpus:4;mem:16384;disk:100000;gpus:2;ports:[31000-31999,32500-33000];cpus(batch):2", "*")
	if err != nil {
		t.Fatal(err)
	}
	more, err := resource.Parse("cpus:1;mem:512", "*")
	if err != nil {
		t.Fatal(err)
	}
	l = l.Plus(more.PushReservation(resource.Reservation{Dynamic: true, Role: "batch", Principal: "someone", Labels: []resource.Label{{Key: "owner", Value: "team", HasValue: true}}}))
	attributes, err := ParseAttributes("rack:r1;zone:z1;level:10;os:linux")
	if err != nil {
		t.Fatal(err)
	}
	face, err := NewAgentFace(&mesosv1.URL{Scheme: new("http"), Path: new("/slave(1)"), Address: &mesosv1.Address{Hostname: new("agent-17.example"), Ip: new("10.0.0.17"), Port: proto.Int32(5051)}},
		&mesosv1.DomainInfo{FaultDomain: &mesosv1.DomainInfo_FaultDomain{Region: &mesosv1.DomainInfo_FaultDomain_RegionInfo{Name: new("eu")}, Zone: &mesosv1.DomainInfo_FaultDomain_ZoneInfo{Name: new("eu-1")}}}, attributes, nil)
	if err != nil {
		t.Fatal(err)
	}
	const master = "3f2b6a1e-6c1c-4a55-9b3d-0c2a8f1d7e42"
	return &Offer{ID: master + "-O1234", FrameworkID: master + "-0001", AgentID: master + "-S17", Hostname: "agent-17.example", Role: "batch", Resources: l, ExecutorIDs: []string{"executor-1"}, Agent: face}
}

func benchmarkStatus(t rapid.TB) *Status {
	m := &mesosv1.TaskStatus{
		TaskId: &mesosv1.TaskID{Value: new("service.web.3f2b6a1e.instance-17")}, State: mesosv1.TaskState_TASK_RUNNING.Enum(), Source: mesosv1.TaskStatus_SOURCE_EXECUTOR.Enum(), Timestamp: new(1700000000.123456),
		AgentId: &mesosv1.AgentID{Value: new("3f2b6a1e-6c1c-4a55-9b3d-0c2a8f1d7e42-S17")}, ExecutorId: &mesosv1.ExecutorID{Value: new("service.web.3f2b6a1e.instance-17")}, Uuid: []byte("0123456789abcdef"), Healthy: new(true),
		ContainerStatus: &mesosv1.ContainerStatus{ContainerId: &mesosv1.ContainerID{Value: new("7d3c3b5e-9f43-4f6b-8f0a-0f6f4b1f3a11")}, ExecutorPid: proto.Uint32(4711), NetworkInfos: []*mesosv1.NetworkInfo{{IpAddresses: []*mesosv1.NetworkInfo_IPAddress{{Protocol: mesosv1.NetworkInfo_IPv4.Enum(), IpAddress: new("10.0.0.17")}}}}},
	}
	wire, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseStatus(wire)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestStatusNamesAreThoseOfTheEnums(t *testing.T) {
	if got := stateNames.of(99) + stateNames.of(-1) + stateNames.of(1); got != `nullnull"TASK_RUNNING"` {
		t.Error(got)
	}
	if !strings.Contains(string(benchmarkStatus(t).AppendJSON(nil)), `"executor_pid":4711`) {
		t.Error("Rest is not written")
	}
}
