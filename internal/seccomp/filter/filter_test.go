package filter

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sample lets read happen and lets all else fail with EPERM.
func sample() Program {
	return Program{Flags: FlagLog, Code: []Instruction{
		{Op: 0x20, K: 0}, {Op: 0x15, Jt: 0, Jf: 1, K: 0}, {Op: 0x06, K: 0x7fff0000}, {Op: 0x06, K: 0x00050001},
	}}
}

func TestTheRecordedSampleOfVersion1IsRead(t *testing.T) {
	text, err := os.ReadFile("testdata/program-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(raw)
	if d := cmp.Diff(sample(), got); d != "" || err != nil {
		t.Errorf("%v: -want +got\n%s", err, d)
	}
	if d := cmp.Diff(raw, sample().Encode()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestAProgramSurvivesItsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Program{Flags: rapid.SampledFrom([]uint32{0, FlagLog, FlagSpecAllow, FlagLog | FlagSpecAllow}).Draw(t, "flags")}
		want.Code = rapid.SliceOfN(rapid.Make[Instruction](), 1, 50).Draw(t, "code")
		got, err := Decode(want.Encode())
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Fatalf("%v: -want +got\n%s", err, d)
		}
	})
}

func TestBytesThatAreNoProgramAreRefused(t *testing.T) {
	good := string(sample().Encode())
	for _, tt := range []struct {
		name, bytes string
		want        error
	}{
		{"nothing", "", ErrFormat},
		{"a header that is cut", good[:7], ErrFormat},
		{"another mark", "x" + good[1:], ErrFormat},
		{"a later version", good[:3] + "\x02" + good[4:], ErrFormat},
		{"a flag that is not known", good[:4] + "\x01" + good[5:], ErrFlags},
		{"no instruction", good[:8], ErrLength},
		{"half an instruction", good[:len(good)-4], ErrLength},
		{"more than the kernel takes", good[:8] + strings.Repeat("\x06\x00\x00\x00\x00\x00\x00\x00", MaxInstructions+1), ErrLength},
	} {
		if _, err := Decode([]byte(tt.bytes)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().Encode())
	f.Add([]byte("scf\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Decode(data); err == nil && string(p.Encode()) != string(data) {
			t.Errorf("%x becomes %x", data, p.Encode())
		}
	})
}
