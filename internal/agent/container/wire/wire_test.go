package wire

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/host/cgroup"
)

// full is a message in which nothing is zero.
func full() *Message {
	m := uint64(0xff00ff00ff)
	e := uint64(0)
	return &Message{
		Type: Launch, Version: 1, Seq: 7, ID: "id", Grace: -5, Status: 0x8b, Kind: KindCaps, Text: "words",
		Args: []string{"a", ""}, Env: []string{"X=y"},
		States: []State{{
			ID: "s", PID: 12, Ticks: 1 << 40, Wall: -1, Cgroups: []string{"/a", "/b"}, Exited: true, Status: 256, OOM: true, TimedOut: true, Killed: true,
			MemLimit: 1 << 35, EndWall: 99, Orphaned: true, Unknown: true, Parent: "up", Shared: true, Hollow: true,
		}, {}},
		Spec: &Spec{
			ID: "c", Sandbox: "/s", Path: "p", Args: []string{"p", "q"}, Env: []string{"A=b"}, SetUser: true, UID: 1, GID: 2, Groups: []uint32{2, 3},
			Rlimits: []Rlimit{{7, 100, 1<<64 - 1}}, Bounding: &m, Effective: &e, NoNewPrivs: true,
			Cgroup: cgroup.Plan{
				Groups:  []cgroup.Group{{Dir: "/cg", Writes: []cgroup.Write{{File: "f", Value: "v", Optional: true}}}, {Dir: "/cg2"}},
				OOMFile: "/cg/oom", MemLimit: 5, Join: []string{"/cg3"},
			},
			MaxCompletion: 1, KillGrace: 2, LogBytes: 3, LogFiles: 4, ErrBytes: 5, ErrFiles: 6, Parent: "up", Shared: true, Stdio: StdioTerminal, Rows: 50, Columns: 200, Inherit: true,
			Namespaces: 1 << 29, Workdir: "/w", Hostname: "h", Seccomp: []byte{6, 0, 0}, StopSignal: 3, Enter: 9, IPC: 7, NetNS: "/n", Root: &Root{
				Store: "/l", Layers: []string{"a", "b"}, Upper: "/u", Work: "/k", Dir: "/d", Masked: []string{"/m"}, ReadOnly: []string{"/r"}, Sealed: true, Own: true,
				Mounts: []Mount{{MountBind, "/t", "s", "/under", "fs", "data", 4096, 259, 0o666}},
			},
		},
	}
}

// recorded is full in version 1 of the protocol. Shims of old agents speak it, and their records are in it: it never
// changes. What later ones say begins with it, for shims of version 1 read no further; recorded2, recorded3 and recorded4 follow.
const recorded = "030107026964098b010605776f726473010163022f73017002017001710103413d62010102020203010764ffffffffffffffffff0101ff81fc87f01f01000102032f6367010166017601042f63673200072f63672f6f6f6d0a02040608020161000103583d790201730c8080808080200102022f61022f62018002010101808080808002c60101010000000000000000000000000000"

const recorded2 = "0275700101042f6367330275700101000000"

const recorded3 = "0232c80101"

const recorded4 = "808080800201022f6c0201610162022f75022f6b022f640102022f740173062f756e646572026673046461746180208302b60301022f6d01022f720101022f770168030600000309070a0c022f6e"

// third is full without what came with version 4.
func third() *Message {
	m := full()
	s := m.Spec
	s.ErrBytes, s.ErrFiles = s.LogBytes, s.LogFiles // of both
	s.Namespaces, s.Workdir, s.Hostname, s.Seccomp, s.StopSignal, s.Enter, s.IPC, s.NetNS, s.Root = 0, "", "", nil, 0, 0, 0, "", nil
	return m
}

// second is full without what came with version 3.
func second() *Message {
	m := third()
	m.Spec.Stdio, m.Spec.Rows, m.Spec.Columns, m.Spec.Inherit = StdioLogged, 0, 0, false
	return m
}

// old is full without what came with version 2.
func old() *Message {
	m := second()
	m.States[0].Parent, m.States[0].Shared, m.States[0].Hollow = "", false, false
	m.Spec.Parent, m.Spec.Shared, m.Spec.Cgroup.Join = "", false, nil
	return m
}

func TestMessagesOfEachVersionAreAsTheyWereRecorded(t *testing.T) {
	got := hex.EncodeToString(full().Append(nil))
	if d := cmp.Diff(recorded+recorded2+recorded3+recorded4, got); d != "" {
		t.Error(d)
	}
	for record, want := range map[string]*Message{recorded: old(), recorded + recorded2: second(), recorded + recorded2 + recorded3: third(), recorded + recorded2 + recorded3 + recorded4: full()} {
		b, err := hex.DecodeString(record)
		if err != nil {
			t.Fatal(err)
		}
		back := new(Message)
		if err := back.Decode(b); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, back); d != "" {
			t.Error(d)
		}
	}
}

func TestFramesComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.Make[Message]().Draw(t, "message")
		var b bytes.Buffer
		if err := WriteFrame(&b, &m); err != nil {
			t.Fatal(err)
		}
		back, err := ReadFrame(&b)
		if err != nil || b.Len() > 0 {
			t.Fatal(err, b.Len())
		}
		var again bytes.Buffer
		if err := WriteFrame(&again, back); err != nil {
			t.Fatal(err)
		}
		var first bytes.Buffer
		WriteFrame(&first, &m)
		if !bytes.Equal(first.Bytes(), again.Bytes()) {
			t.Fatalf("%+v comes back as %+v", m, back)
		}
	})
}

func TestARecordComesBackAsItWas(t *testing.T) {
	want := full().States[0]
	var got State
	if err := got.Decode(want.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	first := old().States[0]
	p := put{[]byte{1}}
	first.put(&p) // as version 1 wrote it
	if err := got.Decode(p.b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, got); d != "" {
		t.Error(d)
	}
	if got.Decode(nil) == nil || got.Decode([]byte{recordVersion + 1}) == nil {
		t.Error("what is no record is taken for one")
	}
}

func TestFramesThatAreCutShortOrTooLongAreRefused(t *testing.T) {
	var b bytes.Buffer
	if err := WriteFrame(&b, full()); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	for n := range whole {
		if n == 4+len(recorded)/2 { // version 1 ended here, though its frames said so
			continue
		}
		if _, err := ReadFrame(bytes.NewReader(whole[:n])); err == nil {
			t.Fatalf("%d of %d bytes are a frame", n, len(whole))
		}
	}
	if _, err := ReadFrame(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("the end between frames is %v", err)
	}
	if _, err := ReadFrame(strings.NewReader("\xff\xff\xff\xff")); err != ErrCorrupt {
		t.Errorf("a frame of 4 GB is %v", err)
	}
	if err := WriteFrame(io.Discard, &Message{Text: strings.Repeat("x", MaxFrame+1)}); err == nil {
		t.Error("a message too long is sent")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(full().Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(Message)
		if m.Decode(b) != nil {
			return
		}
		again := new(Message)
		if err := again.Decode(m.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, again); d != "" {
			t.Fatal(d)
		}
	})
}
