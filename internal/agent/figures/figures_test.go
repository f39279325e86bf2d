package figures

import (
	"testing"

	"github.com/pando-os/pando/internal/host/cgroup"
)

func TestWhatIsReadAndWrittenIsShownByDeviceAndForAll(t *testing.T) {
	all := []cgroup.IO{
		{Major: 8, Minor: 1, Ops: []cgroup.Count{{Op: "READ", N: 3}, {Op: "TOTAL", N: 3}}, Bytes: []cgroup.Count{{Op: "TOTAL", N: 1 << 40}}},
		{All: true, Ops: []cgroup.Count{{Op: "TOTAL", N: 3}}, Bytes: []cgroup.Count{{Op: "TOTAL", N: 1 << 40}}},
	}
	const want = `,"blkio_statistics":{"throttling":[` +
		`{"device":{"major_number":8,"minor_number":1},"io_serviced":[{"op":"READ","value":3},{"op":"TOTAL","value":3}],"io_service_bytes":[{"op":"TOTAL","value":1099511627776}]},` +
		`{"io_serviced":[{"op":"TOTAL","value":3}],"io_service_bytes":[{"op":"TOTAL","value":1099511627776}]}]}`
	if got := string(appendIO(nil, all)); got != want {
		t.Errorf("it is %s\nwant %s", got, want)
	}
	if got := appendIO(nil, nil); got != nil {
		t.Errorf("what is not counted is %s", got)
	}
}
