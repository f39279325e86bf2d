package mesos

import (
	"strings"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
)

const (
	dynamicEng = `"reservations": [{"type": "DYNAMIC", "role": "eng"}]`
	volumeV    = `"disk": {"persistence": {"id": "v"}, "volume": {"mode": "RW", "container_path": "data"}}`
	plainCPU   = `{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}`
)

func scalarJSON(name, value string, more ...string) string {
	return `{"name": "` + name + `", "type": "SCALAR", "scalar": {"value": ` + value + `}` + strings.Join(append([]string{""}, more...), ", ") + `}`
}

func operationOf(t *testing.T, kind, body string) *mesosv1.Offer_Operation {
	t.Helper()
	op := &mesosv1.Offer_Operation{}
	if err := UnmarshalJSON([]byte(`{"type": "`+kind+`", "`+strings.ToLower(kind)+`": `+body+`}`), op); err != nil {
		t.Fatal(err)
	}
	return op
}

func TestOperationsSayWhatTheyConsumeAndWhatComesOfIt(t *testing.T) {
	vol := scalarJSON("disk", "10", dynamicEng, volumeV)
	disk := scalarJSON("disk", "5", dynamicEng)
	for _, c := range []struct{ kind, body, consumed, converted, role string }{
		{"RESERVE", `{"resources": [` + scalarJSON("cpus", "1", dynamicEng, `"allocation_info": {"role": "eng"}`) + `]}`, "cpus:1", "cpus(eng)<dynamic eng>:1", "eng"},
		{"RESERVE", `{"resources": [` + scalarJSON("cpus", "1", `"role": "eng"`, `"reservation": {}`) + `]}`, "cpus:1", "cpus(eng)<dynamic eng>:1", ""},
		{"UNRESERVE", `{"resources": [` + scalarJSON("cpus", "1", dynamicEng) + `]}`, "cpus(eng)<dynamic eng>:1", "cpus:1", ""},
		{"CREATE", `{"volumes": [` + vol + `]}`, "disk(eng)<dynamic eng>:10", "disk(eng)<dynamic eng, disk v>:10", ""},
		{"DESTROY", `{"volumes": [` + vol + `]}`, "disk(eng)<dynamic eng, disk v>:10", "disk(eng)<dynamic eng>:10", ""},
		{"GROW_VOLUME", `{"volume": ` + vol + `, "addition": ` + disk + `}`, "disk(eng)<dynamic eng>:5;disk(eng)<dynamic eng, disk v>:10", "disk(eng)<dynamic eng, disk v>:15", ""},
		{"SHRINK_VOLUME", `{"volume": ` + vol + `, "subtract": {"value": 4}}`, "disk(eng)<dynamic eng, disk v>:10", "disk(eng)<dynamic eng>:4;disk(eng)<dynamic eng, disk v>:6", ""},
	} {
		o, err := CheckOperation(operationOf(t, c.kind, c.body))
		if err != nil {
			t.Errorf("%s %s: %v", c.kind, c.body, err)
			continue
		}
		if got := [3]string{o.Consumed.String(), o.Converted.String(), o.Role}; got != [3]string{c.consumed, c.converted, c.role} {
			t.Errorf("%s: %q, want %q", c.kind, got, [3]string{c.consumed, c.converted, c.role})
		}
	}
	moved, err := CheckOperation(operationOf(t, "RESERVE", `{"source": [`+scalarJSON("cpus", "1", dynamicEng)+`], "resources": [`+scalarJSON("cpus", "1", `"reservations": [{"type": "DYNAMIC", "role": "ops"}]`)+`]}`))
	if err != nil || !moved.Moves || moved.Consumed.String() != "cpus(eng)<dynamic eng>:1" || moved.Converted.String() != "cpus(ops)<dynamic ops>:1" {
		t.Errorf("a reservation that moves: %+v %v", moved, err)
	}
}

func TestOperationsThatMakeNoSenseAreRefusedWithTheField(t *testing.T) {
	vol := scalarJSON("disk", "10", dynamicEng, volumeV)
	shared := scalarJSON("disk", "10", dynamicEng, volumeV, `"shared": {}`)
	mount := scalarJSON("disk", "10", dynamicEng, `"disk": {"persistence": {"id": "v"}, "volume": {"mode": "RW", "container_path": "data"}, "source": {"type": "MOUNT", "mount": {"root": "/m"}}}`)
	for _, c := range []struct{ name, kind, body, field string }{
		{"nothing to reserve", "RESERVE", `{"resources": []}`, "reserve.resources: is empty"},
		{"zero of something", "RESERVE", `{"resources": [` + scalarJSON("cpus", "0", dynamicEng) + `]}`, "reserve.resources: is empty"},
		{"no reservation", "RESERVE", `{"resources": [` + plainCPU + `]}`, `reserve.resources ("cpus").reservations`},
		{"a static reservation", "RESERVE", `{"resources": [` + scalarJSON("cpus", "1", `"reservations": [{"type": "STATIC", "role": "eng"}]`) + `]}`, `.reservations`},
		{"a volume", "RESERVE", `{"resources": [` + vol + `]}`, "disk.persistence"},
		{"what is revocable", "RESERVE", `{"resources": [` + scalarJSON("cpus", "1", dynamicEng, `"revocable": {}`) + `]}`, ".revocable"},
		{"the role *", "RESERVE", `{"resources": [` + scalarJSON("cpus", "1", `"reservations": [{"type": "DYNAMIC", "role": "*"}]`) + `]}`, "reservations[0].role"},
		{"a role that is no child", "RESERVE", `{"resources": [` + scalarJSON("cpus", "1", `"reservations": [{"type": "DYNAMIC", "role": "a"}, {"type": "DYNAMIC", "role": "b"}]`) + `]}`, "reservations[1].role"},
		{"a negative amount", "RESERVE", `{"resources": [` + scalarJSON("cpus", "-1", dynamicEng) + `]}`, "scalar.value"},
		{"other resources than the source", "RESERVE", `{"source": [` + scalarJSON("cpus", "2", dynamicEng) + `], "resources": [` + scalarJSON("cpus", "1", dynamicEng) + `]}`, "reserve.source"},
		{"a source that is a volume", "RESERVE", `{"source": [` + vol + `], "resources": [` + scalarJSON("disk", "10", dynamicEng) + `]}`, "reserve.source"},
		{"two roles", "RESERVE", `{"resources": [` + scalarJSON("cpus", "1", dynamicEng, `"allocation_info": {"role": "a"}`) + `, ` + scalarJSON("mem", "1", dynamicEng, `"allocation_info": {"role": "b"}`) + `]}`, "allocation_info.role"},
		{"what is not reserved", "UNRESERVE", `{"resources": [` + plainCPU + `]}`, `unreserve.resources ("cpus")`},
		{"what is reserved by the settings", "UNRESERVE", `{"resources": [` + scalarJSON("cpus", "1", `"role": "eng"`) + `]}`, `unreserve.resources ("cpus")`},
		{"a volume to unreserve", "UNRESERVE", `{"resources": [` + vol + `]}`, "disk.persistence"},
		{"disk without an id", "CREATE", `{"volumes": [` + scalarJSON("disk", "10", dynamicEng) + `]}`, "disk.persistence: is missing"},
		{"an id that is a path", "CREATE", `{"volumes": [` + strings.ReplaceAll(vol, `"v"`, `"../v"`) + `]}`, "persistence.id"},
		{"an id that is a directory", "CREATE", `{"volumes": [` + strings.ReplaceAll(vol, `"v"`, `".."`) + `]}`, "persistence.id"},
		{"a volume of cpus", "CREATE", `{"volumes": [` + scalarJSON("cpus", "1", dynamicEng, volumeV) + `]}`, "disk"},
		{"a volume that is not reserved", "CREATE", `{"volumes": [` + scalarJSON("disk", "1", volumeV) + `]}`, "persistence: a volume must be on reserved disk"},
		{"a volume of no place", "CREATE", `{"volumes": [` + scalarJSON("disk", "1", dynamicEng, `"disk": {"persistence": {"id": "v"}}`) + `]}`, "volume: is missing"},
		{"a place on the host", "CREATE", `{"volumes": [` + strings.ReplaceAll(vol, `"mode"`, `"host_path": "/etc", "mode"`) + `]}`, "host_path"},
		{"read only", "CREATE", `{"volumes": [` + strings.ReplaceAll(vol, "RW", "RO") + `]}`, "volume.mode"},
		{"twice the same", "CREATE", `{"volumes": [` + vol + `, ` + strings.ReplaceAll(vol, "10", "5") + `]}`, "is there twice"},
		{"nothing to grow", "GROW_VOLUME", `{"volume": ` + scalarJSON("disk", "10", dynamicEng) + `, "addition": ` + scalarJSON("disk", "10", dynamicEng) + `}`, "grow_volume.volume"},
		{"growth by disk of another kind", "GROW_VOLUME", `{"volume": ` + vol + `, "addition": ` + scalarJSON("disk", "10") + `}`, "grow_volume.addition"},
		{"growth by nothing", "GROW_VOLUME", `{"volume": ` + vol + `, "addition": ` + scalarJSON("disk", "0", dynamicEng) + `}`, "grow_volume.addition"},
		{"growth by cpus", "GROW_VOLUME", `{"volume": ` + vol + `, "addition": ` + scalarJSON("cpus", "1", dynamicEng) + `}`, "grow_volume.addition"},
		{"a shared volume that grows", "GROW_VOLUME", `{"volume": ` + shared + `, "addition": ` + scalarJSON("disk", "1", dynamicEng) + `}`, "grow_volume.volume.shared"},
		{"a mount that grows", "GROW_VOLUME", `{"volume": ` + mount + `, "addition": ` + scalarJSON("disk", "1", dynamicEng) + `}`, "disk.source"},
		{"shrinking by nothing", "SHRINK_VOLUME", `{"volume": ` + vol + `, "subtract": {"value": 0}}`, "shrink_volume.subtract"},
		{"shrinking by all", "SHRINK_VOLUME", `{"volume": ` + vol + `, "subtract": {"value": 10}}`, "shrink_volume.subtract"},
		{"a mount that shrinks", "SHRINK_VOLUME", `{"volume": ` + mount + `, "subtract": {"value": 1}}`, "disk.source"},
		{"a resource provider's", "UNRESERVE", `{"resources": [` + scalarJSON("cpus", "1", dynamicEng, `"provider_id": {"value": "p"}`) + `]}`, "provider_id"},
		{"a disk to be made", "CREATE_DISK", `{"source": ` + scalarJSON("disk", "1") + `, "target_type": "MOUNT"}`, "type: CREATE_DISK is for disks of resource providers"},
		{"a disk to be unmade", "DESTROY_DISK", `{"source": ` + scalarJSON("disk", "1") + `}`, "type: DESTROY_DISK is for disks of resource providers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if o, err := CheckOperation(operationOf(t, c.kind, c.body)); err == nil || !strings.Contains(err.Error(), c.field) {
				t.Errorf("%+v, %v; want an error about %s", o.Change, err, c.field)
			}
		})
	}
	for _, empty := range []*mesosv1.Offer_Operation{{}, {Type: mesosv1.Offer_Operation_RESERVE.Enum()}, {Type: mesosv1.Offer_Operation_GROW_VOLUME.Enum()}, {Type: mesosv1.Offer_Operation_SHRINK_VOLUME.Enum()}, {Type: mesosv1.Offer_Operation_LAUNCH.Enum()}} {
		if _, err := CheckOperation(empty); err == nil {
			t.Errorf("%v is taken", empty)
		}
	}
}
