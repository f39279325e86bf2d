package reconfigure

import (
	"strings"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

func described(host string, port int32, resources, attributes string) *mesosv1.AgentInfo {
	return &mesosv1.AgentInfo{
		Hostname: &host, Port: &port, Attributes: must(mesos.ParseAttributes(attributes)),
		Resources: must(resource.Parse(resources, "*")).ToProto("", resource.PostRefinement),
	}
}

func in(a *mesosv1.AgentInfo, domain string) *mesosv1.AgentInfo {
	a.Domain = must(mesos.ParseDomain(domain))
	return a
}

func TestAnAgentStaysWhereItIs(t *testing.T) {
	was := in(described("h", 5051, "cpus:4", ""), "east/1")
	for domain, want := range map[string]string{"east/1": "", "east/2": "domain", "": "domain"} {
		got, err := Additive.Refuse(was, in(described("h", 5051, "cpus:4", ""), domain))
		if named, _, _ := strings.Cut(got, ":"); err != nil || named != want {
			t.Errorf("one of east/1 that comes back in %q: it says %q, %v", domain, got, err)
		}
	}
}

func TestWhatAnAgentMayHaveBecome(t *testing.T) {
	const res, attrs = "cpus:4;ports:[10-20]", "rack:r1;level:10;slots:[1-5]"
	was := described("h", 5051, res, attrs)
	for name, c := range map[string]struct {
		is              *mesosv1.AgentInfo
		equal, additive string // what is named as different; empty: nothing
	}{
		"the same":                           {described("h", 5051, res, attrs), "", ""},
		"attributes in another order":        {described("h", 5051, res, "level:10;slots:[1-5];rack:r1"), "", ""},
		"another host name":                  {described("i", 5051, res, attrs), "hostname", "hostname"},
		"another port":                       {described("h", 5052, res, attrs), "port", "port"},
		"more of a scalar":                   {described("h", 5051, "cpus:6;ports:[10-20]", attrs), "resources", ""},
		"less of a scalar":                   {described("h", 5051, "cpus:3;ports:[10-20]", attrs), "resources", "resources"},
		"a wider range":                      {described("h", 5051, "cpus:4;ports:[9-20]", attrs), "resources", ""},
		"another range":                      {described("h", 5051, "cpus:4;ports:[11-30]", attrs), "resources", "resources"},
		"a new resource":                     {described("h", 5051, res+";gpus:1", attrs), "resources", ""},
		"a resource that another role has":   {described("h", 5051, "cpus(r):4;ports:[10-20]", attrs), "resources", "resources"},
		"a new attribute":                    {described("h", 5051, res, attrs+";extra:yes"), "attributes", ""},
		"an attribute with another text":     {described("h", 5051, res, "rack:r2;level:10;slots:[1-5]"), "attributes", "attributes"},
		"an attribute with a greater number": {described("h", 5051, res, "rack:r1;level:11;slots:[1-5]"), "attributes", ""},
		"an attribute of another kind":       {described("h", 5051, res, "rack:r1;level:x;slots:[1-5]"), "attributes", "attributes"},
		"an attribute with a wider range":    {described("h", 5051, res, "rack:r1;level:10;slots:[1-9]"), "attributes", ""},
		"an attribute with a narrower range": {described("h", 5051, res, "rack:r1;level:10;slots:[1-3]"), "attributes", "attributes"},
		"a domain where there was none":      {in(described("h", 5051, res, attrs), "r/z"), "domain", ""},
		"an attribute that is gone":          {described("h", 5051, res, "rack:r1;level:10"), "attributes", "attributes"},
	} {
		for policy, want := range map[Policy]string{Equal: c.equal, Additive: c.additive, Any: ""} {
			t.Run(name+" with "+string(policy), func(t *testing.T) {
				got, err := policy.Refuse(was, c.is)
				if err != nil {
					t.Fatal(err)
				}
				if named, _, _ := strings.Cut(got, ":"); named != want {
					t.Errorf("it says %q, want it to name %q", got, want)
				}
			})
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
