package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsReadAndWrittenIsTheSameOnBothVersions(t *testing.T) {
	for name, c := range map[string]struct{ got, want []IO }{
		"v1": {
			throttled("8:0 Read 3\n8:0 Write 4\n8:0 Total 7\n259:12 Discard 1\n259:12 Total 1\nTotal 8\n", "8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\n259:12 Discard 512\n259:12 Total 512\nTotal 12800\n"),
			[]IO{
				{Major: 8, Ops: []Count{{"READ", 3}, {"WRITE", 4}, {"TOTAL", 7}}, Bytes: []Count{{"READ", 4096}, {"WRITE", 8192}, {"TOTAL", 12288}}},
				{Major: 259, Minor: 12, Ops: []Count{{"DISCARD", 1}, {"TOTAL", 1}}, Bytes: []Count{{"DISCARD", 512}, {"TOTAL", 512}}},
				{All: true, Ops: []Count{{"TOTAL", 8}}, Bytes: []Count{{"TOTAL", 12800}}},
			},
		},
		"v1, nothing": {throttled("Total 0\n", "Total 0\n"), []IO{{All: true, Ops: []Count{{"TOTAL", 0}}, Bytes: []Count{{"TOTAL", 0}}}}},
		"v1, no file": {throttled("", ""), nil},
		"v2": {
			ioStat("8:0 rbytes=4096 wbytes=8192 rios=3 wios=4 dbytes=0 dios=0\n259:12 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=512 dios=1\n7:0 \n"),
			[]IO{
				{Major: 8, Ops: []Count{{"READ", 3}, {"WRITE", 4}, {"DISCARD", 0}, {"TOTAL", 7}}, Bytes: []Count{{"READ", 4096}, {"WRITE", 8192}, {"DISCARD", 0}, {"TOTAL", 12288}}},
				{Major: 259, Minor: 12, Ops: []Count{{"READ", 0}, {"WRITE", 0}, {"DISCARD", 1}, {"TOTAL", 1}}, Bytes: []Count{{"READ", 0}, {"WRITE", 0}, {"DISCARD", 512}, {"TOTAL", 512}}},
				{All: true, Ops: []Count{{"TOTAL", 8}}, Bytes: []Count{{"TOTAL", 12800}}},
			},
		},
		"v2, nothing": {ioStat(""), []IO{{All: true, Ops: []Count{{"TOTAL", 0}}, Bytes: []Count{{"TOTAL", 0}}}}},
	} {
		if d := cmp.Diff(c.want, c.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
