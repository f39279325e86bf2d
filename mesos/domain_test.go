package mesos

import (
	"strings"
	"testing"
)

func TestADomainIsReadInBothForms(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "east/1a": "east/1a", " east/1a ": "east/1a", "a/b/c": "a/b/c",
		`{"fault_domain":{"region":{"name":"east"},"zone":{"name":"1a"}}}`: "east/1a",
	} {
		d, err := ParseDomain(text)
		if got := FormatDomain(d); err != nil || got != want {
			t.Errorf("%q is read as %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"east": "REGION/ZONE", "/1a": "names of a region", "east/": "names of a region", "{}": "names of a region", "{": "",
		`{"fault_domain":{"region":{},"zone":{"name":"x"}}}`: "name",
	} {
		if d, err := ParseDomain(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %v, %v", text, d, err)
		}
	}
}
