package cni

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	mesosv1 "github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/network"
)

func TestDescriptionsBecomeLists(t *testing.T) {
	for _, c := range []struct{ name, text, want, wrong string }{
		{"a list stays", `{"name":"a","cniVersion":"1.0.0","plugins":[{"type":"x","n":12345678901234567890}]}`, `{"cniVersion":"1.0.0","loadOnlyInlinedPlugins":true,"name":"a","plugins":[{"type":"x","n":12345678901234567890}]}`, ""},
		{"a plugin is a list of one", `{"name":"a","type":"x"}`, `{"loadOnlyInlinedPlugins":true,"name":"a","plugins":[{"name":"a","type":"x"}]}`, ""},
		{
			"the original's port mapper is the plugin that it wrapped, and portmap",
			`{"name":"a","type":"mesos-cni-port-mapper","chain":"C","excludeDevices":["b"],"delegate":{"type":"bridge","bridge":"b"}}`,
			`{"cniVersion":"0.3.1","loadOnlyInlinedPlugins":true,"name":"a","plugins":[{"bridge":"b","type":"bridge"},{"capabilities":{"portMappings":true},"snat":true,"type":"portmap"}]}`, "",
		},
		{"no name", `{"type":"x"}`, "", "name"},
		{"a name that is a path", `{"name":"../a","type":"x"}`, "", `name: "../a" cannot be that of a network`},
		{"no plugins", `{"name":"a","plugins":[]}`, "", "no plugins in list"},
		{"no type", `{"name":"a"}`, "", "type: is missing; name a plugin, or give a list of plugins"},
		{"a plugin without a type", `{"name":"a","plugins":[{}]}`, "", "type"},
		{"a port mapper of nothing", `{"name":"a","type":"mesos-cni-port-mapper"}`, "", "delegate: is no description of a plugin"},
		{"null", `null`, "", "is no object of JSON"},
		{"too large", `{"name":"a","type":"x","pad":"` + strings.Repeat("a", 1<<20) + `"}`, "", "is larger than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name, got, err := normalise([]byte(c.text))
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%s: %v; want %s", got, err, c.wrong)
				}
				return
			}
			if err != nil || name != "a" || string(got) != c.want {
				t.Errorf("%s %v\n%s; want\n%s", name, err, got, c.want)
			}
		})
	}
}

func TestWhatFrameworksWriteStandsBesideOtherArgs(t *testing.T) {
	got, err := withInfo([]byte(`{"name":"a","plugins":[{"type":"x","args":{"cni":{"k":1}}},{"type":"y","args":null}]}`), &mesosv1.NetworkInfo{Name: new("a")})
	const want = `{"name":"a","plugins":[{"args":{"cni":{"k":1},"org.apache.mesos":{"network_info":{"name":"a"}}},"type":"x"},{"args":{"org.apache.mesos":{"network_info":{"name":"a"}}},"type":"y"}]}`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s; want\n%s", err, got, want)
	}
}

func TestAnAttachmentOfVersion1IsRead(t *testing.T) {
	text, err := os.ReadFile("testdata/attachment-1.json")
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRecord(text)
	if err != nil || r.Container != "box" || r.Network != "well" || r.Interface != "eth0" || r.Namespace != "/ns" || len(r.Ports) != 1 || r.Ports[0] != (port{31000, 80, "tcp"}) {
		t.Errorf("%+v: %v", r, err)
	}
	if l, err := parse(r.Config); err != nil || l.Name != "well" {
		t.Errorf("%v: %v", l, err)
	}
	if again, err := json.Marshal(r); err != nil || string(again) != strings.TrimSpace(string(text)) {
		t.Errorf("written as %s", again)
	}
}

func FuzzNormalise(f *testing.F) {
	f.Add([]byte(`{"name":"a","type":"mesos-cni-port-mapper","delegate":{"type":"bridge"}}`))
	f.Add([]byte(`{"name":"a","cniVersion":"1.0.0","plugins":[{"type":"x","args":{"a":1}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		name, list, err := normalise(text)
		if err != nil {
			return
		}
		with, err := withInfo(list, &mesosv1.NetworkInfo{Name: &name})
		if err != nil {
			return // args that are no object
		}
		if l, err := parse(with); err != nil || l.Name != name {
			t.Errorf("%q becomes %q: %v", text, with, err)
		}
		if _, again, err := normalise(list); err != nil || string(again) != string(list) {
			t.Errorf("%q becomes %q: %v", list, again, err)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	if text, err := os.ReadFile("testdata/attachment-1.json"); err == nil {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := parseRecord(text); err == nil {
			r.runtime()
			if network.CheckID(r.Container) != nil {
				t.Errorf("%+v", r)
			}
		}
	})
}
