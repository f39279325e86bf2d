package master

import (
	"encoding/binary"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/store"
)

func frames(t *testing.T, items ...any) []*link.Down {
	t.Helper()
	l := &agentLink{term: &term{leadership: &store.Leadership{}}}
	var out []*link.Down
	for b := l.encode(nil, items); len(b) > 0; {
		n := binary.BigEndian.Uint32(b)
		d := &link.Down{}
		if err := proto.Unmarshal(b[4:4+n], d); err != nil {
			t.Fatal(err)
		}
		out, b = append(out, d), b[4+n:]
	}
	return out
}

func TestAnOrderOfAnEarlierKindBeginsANewFrame(t *testing.T) {
	run := cluster.Run{Framework: &cluster.FrameworkSpec{ID: "f"}, Task: &cluster.TaskSpec{ID: "t"}}
	ack := cluster.Ack{Framework: "f", Task: "t", UUID: "u"}
	got := frames(t, ack, run)
	if len(got) != 2 || len(got[0].GetAcks()) != 1 || len(got[1].GetRuns()) != 1 {
		t.Errorf("an acknowledgement and the Run of the same id after it are in %d frames: %v", len(got), got)
	}
	if got := frames(t, run, run, ack, ack); len(got) != 1 {
		t.Errorf("orders whose kinds follow each other are in %d frames", len(got))
	}
	if got := frames(t, ack, cluster.Registered{Agent: "a"}); len(got) != 2 || got[1].GetRegistered() == nil {
		t.Errorf("an acknowledgement of a task that is over goes before the answer to a registration, and they are in %d frames", len(got))
	}
}
