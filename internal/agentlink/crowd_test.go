package agentlink_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
)

// emptyOnes are n empty messages in a repeated field.
func emptyOnes(field protowire.Number, n int) []byte {
	return bytes.Repeat(protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.BytesType), 0), n)
}

func TestMoreElementsThanMayBeAreRefusedBeforeTheyAreDecoded(t *testing.T) {
	up := (&link.Up{}).ProtoReflect().Descriptor()
	const updates, capabilities, register = 4, 3, 3
	nested := func(b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, register, protowire.BytesType), b)
	}
	packed := protowire.AppendBytes(protowire.AppendTag(nil, capabilities, protowire.BytesType), make([]byte, 9*agentlink.MaxElements))
	unpacked := bytes.Repeat(protowire.AppendVarint(protowire.AppendTag(nil, capabilities, protowire.VarintType), 1), agentlink.MaxElements+1)
	for name, c := range map[string]struct {
		sent []byte
		ok   bool
	}{
		"as many as may be":        {emptyOnes(updates, agentlink.MaxElements), true},
		"one more":                 {emptyOnes(updates, agentlink.MaxElements+1), false},
		"within another message":   {nested(emptyOnes(4, agentlink.MaxElements)), false},
		"numbers that are packed":  {nested(packed), false},
		"numbers that are not":     {nested(unpacked), false},
		"a large message of bytes": {nested(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), make([]byte, 8<<20))), true},
		"what is cut off":          {emptyOnes(updates, 300_000)[:599_999], true},
		"fields that are unknown":  {emptyOnes(1000, 1_000_000), true},
	} {
		t.Run(name, func(t *testing.T) {
			err := agentlink.CheckElements(c.sent, up)
			if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "send fewer") {
				t.Error(err)
			}
		})
	}
	if err := agentlink.CheckElements(emptyOnes(1, agentlink.MaxElements+1), (&mesosv1.Labels{}).ProtoReflect().Descriptor()); err == nil {
		t.Error("labels without end are taken")
	}
}

func TestAFrameTakesTheMemoryOfWhatComesAndNotOfWhatIsAnnounced(t *testing.T) {
	head := append(binary.BigEndian.AppendUint32(nil, agentlink.MaxFrame), "and that is all"...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		var up link.Up
		if _, err := agentlink.ReadFrame(bufio.NewReader(bytes.NewReader(head)), nil, &up); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 100<<20 {
		t.Errorf("a hundred announced frames took %d bytes", n)
	}
	whole, err := agentlink.AppendFrame(nil, &link.Up{Updates: []*link.Update{{Status: bytes.Repeat([]byte("x"), 3<<20)}}})
	if err != nil {
		t.Fatal(err)
	}
	var up link.Up
	if _, err := agentlink.ReadFrame(bufio.NewReader(bytes.NewReader(whole)), nil, &up); err != nil || len(up.GetUpdates()[0].GetStatus()) != 3<<20 {
		t.Errorf("a large frame: %v", err)
	}
	if _, err := agentlink.ReadFrameUpTo(1<<20, bufio.NewReader(bytes.NewReader(whole)), nil, &up); err == nil || !strings.Contains(err.Error(), "larger than the 1048576 allowed") {
		t.Errorf("one that is larger than asked for: %v", err)
	}
}
