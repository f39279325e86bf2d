package mesos

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1/agent"
)

func TestAProcessIOIsWrittenAsTheGeneratedTypesWouldWriteIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := agent.ProcessIO_Data_Type(rapid.IntRange(1, 3).Draw(t, "stream"))
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		if data == nil {
			data = []byte{}
		}
		m := &agent.ProcessIO{Type: agent.ProcessIO_DATA.Enum(), Data: &agent.ProcessIO_Data{Type: &stream, Data: data}}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if got := AppendProcessIO([]byte("before"), stream, data, false); err != nil || !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Fatalf("%x, not %x (%v)", got, want, err)
		}
		want, err = AppendJSON([]byte("before"), m)
		if got := AppendProcessIO([]byte("before"), stream, data, true); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s, not %s (%v)", got, want, err)
		}
	})
}
