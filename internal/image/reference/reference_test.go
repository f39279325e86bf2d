package reference

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/image/failure"
)

const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestNamesAreReadAsDockerAndOCIWriteThem(t *testing.T) {
	for _, c := range []struct {
		name, in, registry string
		want               Reference
	}{
		{"a short name gets the default registry and latest", "app", "hub.test", Reference{"hub.test", "app", "latest", ""}},
		{"a short name of two parts", "team/app:1", "hub.test:5000", Reference{"hub.test:5000", "team/app", "1", ""}},
		{"a short name without a default registry has none", "app:1", "", Reference{"", "app", "1", ""}},
		{"a dot makes the first part a registry", "r.test/a/b/c:v1.2", "hub.test", Reference{"r.test", "a/b/c", "v1.2", ""}},
		{"a port makes the first part a registry", "registry:5000/app", "hub.test", Reference{"registry:5000", "app", "latest", ""}},
		{"localhost is a registry", "localhost/app", "hub.test", Reference{"localhost", "app", "latest", ""}},
		{"a colon without a slash after it is a tag", "app:5000", "hub.test", Reference{"hub.test", "app", "5000", ""}},
		{"an address of six", "[::1]:5000/app", "", Reference{"[::1]:5000", "app", "latest", ""}},
		{"a digest", "r.test/app@" + sum, "", Reference{"r.test", "app", "", sum}},
		{"a tag beside a digest is dropped", "r.test:5000/app:1@" + sum, "", Reference{"r.test:5000", "app", "", sum}},
		{"a digest of a short name", "app@" + sum, "hub.test", Reference{"hub.test", "app", "", sum}},
		{"separators", "r.test/a__b/c--d.e_f", "", Reference{"r.test", "a__b/c--d.e_f", "latest", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.in, c.registry)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			again, err := Parse(got.String(), c.registry)
			if err != nil || again != got {
				t.Errorf("%s is read as %+v, %v", got, again, err)
			}
		})
	}
}

func TestNamesThatCannotWorkAreRefusedWithTheirPart(t *testing.T) {
	for in, words := range map[string]string{
		"":                                       "no name",
		"https://r.test/app":                     "scheme",
		"r.test/App":                             "repository",
		"r.test/../app":                          "repository",
		"r.test/a//b":                            "repository",
		"r.test/a/./b":                           "repository",
		"r.test/-a":                              "repository",
		"r.test/app:":                            "tag",
		"r.test/app:.x":                          "tag",
		"r.test/app:" + strings.Repeat("x", 129): "tag",
		"r.test/app@sha256:abc":                  "no digest",
		"r.test/app@md5:d41d8cd98f00b204e9800998ecf8427e": "no digest",
		sum:                                  "digest alone",
		"r.test/" + strings.Repeat("a", 256): "repository",
		strings.Repeat("a", 1000):            "limit",
		"r..test\n/app":                      "no name of an image",
		"nowhere.invalid/app":                "no registry",
		"user:pw@r.test/app":                 "after the @",
		"r.test:port/app":                    "no name of an image",
	} {
		_, err := Parse(in, "hub.test")
		if !failure.Is(err, failure.Invalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("%.60q: %v, want words on %q", in, err, words)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"app", "r.test:5000/a/b:c", "app@" + sum, "a:b@" + sum, "[::1]:1/a", "../..", "a/../b:c", "nowhere.invalid/a"} {
		f.Add(s, "hub.test")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, s, registry string) {
		r, err := Parse(s, registry)
		if err != nil {
			if !failure.Is(err, failure.Invalid) {
				t.Fatalf("%v is %v", err, failure.Of(err))
			}
			return
		}
		if strings.Contains(r.Repository, "..") || r.Identifier() == "" {
			t.Fatalf("%+v", r)
		}
		if again, err := Parse(r.String(), registry); err != nil || again != r {
			t.Fatalf("%q gives %+v, which is read as %+v, %v", s, r, again, err)
		}
	})
}
