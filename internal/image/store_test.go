package image

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/machine"
)

// stopped is a clock that stands until it is moved.
type stopped struct {
	clock.Clock
	wall time.Time
}

func (c *stopped) Now() machine.Now {
	now := c.Clock.Now()
	now.Wall = c.wall.UnixNano()
	return now
}

func TestWhatACrashLeftIsRemovedAtOpen(t *testing.T) {
	h, dir := newHub(t), t.TempDir()
	h.push(t, "app:1", build(t, layerOf(t, files(t, "a"))))
	s := open(t, dir, h)
	if _, err := s.Pull(t.Context(), "app:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, p := range []string{"work/1/half/unpacked", "trash/7/file", "layers/halfway/file", "blobs/sha256-orphan", "work/2"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, nil)
	if left := leftovers(t, s); left != nil {
		t.Error(left)
	}
	if _, err := s.Get(h.ref("app:1")); err != nil {
		t.Error(err)
	}
}

func TestADamagedRecordIsToldAndDropped(t *testing.T) {
	h := newHub(t)
	h.push(t, "app:1", build(t, layerOf(t, files(t, "a")), layerOf(t, files(t, "b"))))
	h.push(t, "sound:1", build(t, layerOf(t, files(t, "a"))))
	edit := func(change func(map[string]any)) func(t *testing.T, s *Store, st *stored) {
		return func(t *testing.T, s *Store, st *stored) {
			t.Helper()
			raw, err := os.ReadFile(s.recordPath(st.Digest))
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]any
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			change(m)
			if raw, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.recordPath(st.Digest), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(path func(s *Store, st *stored) string, body string) func(t *testing.T, s *Store, st *stored) {
		return func(t *testing.T, s *Store, st *stored) {
			t.Helper()
			if err := os.WriteFile(path(s, st), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	record := func(s *Store, st *stored) string { return s.recordPath(st.Digest) }
	for name, damage := range map[string]func(t *testing.T, s *Store, st *stored){
		"cut off":                    write(record, `{"version":1,"dig`),
		"empty":                      write(record, ``),
		"of another version":         edit(func(m map[string]any) { m["version"] = 2 }),
		"with a path as a digest":    edit(func(m map[string]any) { m["config"] = "sha256:../../../etc/passwd" }),
		"with other layers":          edit(func(m map[string]any) { m["layers"] = m["layers"].([]any)[:1] }),
		"with a bad name":            edit(func(m map[string]any) { m["references"] = []any{map[string]any{"name": "../x"}} }),
		"under another name":         edit(func(m map[string]any) { m["digest"] = "sha256:" + strings.Repeat("0", 64) }),
		"with a config that changed": write(func(s *Store, st *stored) string { return s.path(blobsDir, fileName(st.Config)) }, `{}`),
		"with a config that says something else": func(t *testing.T, s *Store, st *stored) {
			t.Helper()
			path := s.path(blobsDir, fileName(st.Config))
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, bytes.Replace(raw, []byte("/bin/app"), []byte("/bin/bad"), 1), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"without its config": func(_ *testing.T, s *Store, st *stored) {
			os.Remove(s.path(blobsDir, fileName(st.Config)))
		},
		"without a layer": func(_ *testing.T, s *Store, st *stored) {
			os.RemoveAll(s.layerPath(st.Layers[1].Chain))
		},
		"with a link for a layer": func(t *testing.T, s *Store, st *stored) {
			t.Helper()
			os.RemoveAll(s.layerPath(st.Layers[1].Chain))
			if err := os.Symlink("/etc", s.layerPath(st.Layers[1].Chain)); err != nil {
				t.Fatal(err)
			}
		},
		"a directory in its place": func(t *testing.T, s *Store, st *stored) {
			t.Helper()
			os.Remove(s.recordPath(st.Digest))
			if err := os.MkdirAll(s.recordPath(st.Digest)+"/x", 0o755); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, h)
			for _, ref := range []string{"app:1", "sound:1"} {
				if _, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
			damage(t, s, s.images[s.names[h.ref("app:1")]])
			log := &told{}
			s = open(t, dir, h, func(s *Settings) { s.Log = log.logger() })
			if _, err := s.Get("app:1"); !failure.Is(err, failure.NotFound) {
				t.Errorf("it is still there: %v", err)
			}
			if !strings.Contains(log.String(), "damaged and dropped") {
				t.Errorf("nobody was told: %q", log)
			}
			if _, err := s.Get("sound:1"); err != nil {
				t.Error(err)
			}
			if left := leftovers(t, s); left != nil {
				t.Error(left)
			}
			if _, err := s.Pull(t.Context(), "app:1", PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheLaterOfTwoRecordsWithOneNameHasIt(t *testing.T) {
	h, dir := newHub(t), t.TempDir()
	s := open(t, dir, h)
	var digests []string
	for _, f := range []string{"one", "two"} {
		img := build(t, layerOf(t, files(t, f)))
		h.push(t, "app:1", img)
		if _, err := s.Pull(t.Context(), "app:1", PullOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digestOf(t, img))
	}
	// A crash between the two writes of a move leaves the old record as it was.
	old := s.images[digests[0]].record
	old.References = []named{{Name: h.ref("app:1"), At: s.now().Add(-time.Hour)}}
	if err := s.save(&old, true); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, h)
	if got, err := s.Get("app:1"); err != nil || got.Digest != digests[1] {
		t.Error(got.Digest, err)
	}
	if got, err := s.Get(digests[0]); err != nil || len(got.References) != 0 {
		t.Error(got, err)
	}
}

func TestADirectoryHasOneStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	if _, err := Open(Settings{Dir: dir}); !failure.Is(err, failure.InUse) {
		t.Errorf("a second one: %v", err)
	}
	s.Close()
	open(t, dir, nil)
}

func TestSettingsThatCannotWorkAreRefusedByName(t *testing.T) {
	for words, change := range map[string]func(*Settings){
		"Dir":             func(s *Settings) { s.Dir = "relative" },
		"DefaultRegistry": func(s *Settings) { s.DefaultRegistry = "https://r.test" },
		"Platform":        func(s *Settings) { s.Platform = "linux" },
		"DockerConfig":    func(s *Settings) { s.DockerConfig = []byte("nonsense") },
		"PlainHTTP":       func(s *Settings) { s.PlainHTTP = []string{"http://r.test"} },
	} {
		cfg := Settings{Dir: t.TempDir()}
		change(&cfg)
		if _, err := Open(cfg); !failure.Is(err, failure.Invalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

func TestTheLastUseIsOnTheDiskToTheMinute(t *testing.T) {
	h, dir := newHub(t), t.TempDir()
	h.push(t, "app:1", build(t))
	begin := time.Unix(1_700_000_000, 0).UTC()
	c := &stopped{clock.Real(), begin}
	s := open(t, dir, h, func(s *Settings) { s.Clock = c })
	for _, after := range []time.Duration{0, 30 * time.Second, 2 * time.Minute, 2*time.Minute + 30*time.Second} {
		c.wall = begin.Add(after)
		if got, err := s.Pull(t.Context(), "app:1", PullOptions{}); err != nil || !got.LastUsed.Equal(c.wall) {
			t.Error(got.LastUsed, err)
		}
	}
	s.Close()
	got, err := open(t, dir, h).Get("app:1")
	if err != nil || !got.LastUsed.Equal(begin.Add(2*time.Minute)) || !got.Pulled.Equal(begin) {
		t.Error(got.LastUsed, got.Pulled, err)
	}
}

// The record of version 1, as the first release wrote it.
func TestARecordedSampleIsRead(t *testing.T) {
	const digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	path := filepath.Join("testdata", fileName(digest)+".json")
	got, err := readRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC)
	want := &record{
		Version: 1, Digest: digest, Config: "sha256:2222222222222222222222222222222222222222222222222222222222222222",
		Layers: []layerFacts{{
			Chain: "sha256:3333333333333333333333333333333333333333333333333333333333333333", Diff: "sha256:3333333333333333333333333333333333333333333333333333333333333333",
			Packed: 120, Bytes: 4000, Entries: 3, Opaque: true,
		}},
		References: []named{{Name: "r.test/app:1", Top: "sha256:4444444444444444444444444444444444444444444444444444444444444444", At: at}},
		Pulled:     at, LastUsed: at.Add(time.Hour),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// What is written today is the same.
	raw, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	sample, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(sample)), string(raw)); diff != "" {
		t.Error(diff)
	}
	// And so is the name of a layer's directory.
	if got, want := layerName(want.Layers[0].Chain), "6cpj6cpj6cpj6cpj6cpj6cpj6c"; got != want {
		t.Errorf("a layer is called %s, want %s", got, want)
	}
}

func FuzzReadRecord(f *testing.F) {
	raw, err := os.ReadFile("testdata/sha256-1111111111111111111111111111111111111111111111111111111111111111.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record
		if json.Unmarshal(b, &r) != nil || r.check() != nil {
			return
		}
		for _, l := range r.Layers {
			if n := layerName(l.Chain); len(n) != 26 || strings.ContainsAny(n, "/.:,") {
				t.Errorf("a layer would be called %q", n)
			}
		}
		if n := fileName(r.Digest); strings.ContainsAny(n, "/:") {
			t.Errorf("a record would be called %q", n)
		}
	})
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","size":2},"layers":[]}`), "")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","size":2,"platform":{"os":"linux","architecture":"amd64"}}]}`), "x")
	f.Add([]byte(`{"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:1111111111111111111111111111111111111111111111111111111111111111"]},"config":{"Env":["A=1"]}}`), "")
	f.Fuzz(func(t *testing.T, b []byte, mediaType string) {
		d, err := parseDocument(b, mediaType)
		if err == nil && (d.manifest == nil) == (d.index == nil) {
			t.Error("it is both or neither")
		}
		if err == nil && d.index != nil {
			if m, err := choose(d.index, v1.Platform{OS: "linux", Architecture: "amd64"}); err == nil && m.Digest.Hex == "" {
				t.Error("a manifest without a digest was chosen")
			}
		}
		if err != nil && failure.Of(err) != failure.BadArchive && failure.Of(err) != failure.TooLarge {
			t.Errorf("%v is %v", err, failure.Of(err))
		}
		if c, err := parseConfig(b); err == nil {
			if _, err := chainIDs(c.DiffIDs); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestDocumentsThatAreNoImagesAreRefused(t *testing.T) {
	const d = `"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"`
	for name, c := range map[string]struct{ raw, words string }{
		"schema 1":            {`{"schemaVersion":1,"fsLayers":[]}`, "schema 1"},
		"no version":          {`{"layers":[]}`, "schemaVersion"},
		"both":                {`{"schemaVersion":2,"manifests":[],"layers":[]}`, "at once"},
		"another media type":  {`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{` + d + `},"layers":[]}`, "media type"},
		"a chart":             {`{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json",` + d + `},"layers":[]}`, "no image of a container"},
		"no config":           {`{"schemaVersion":2,"layers":[]}`, "config"},
		"a layer without any": {`{"schemaVersion":2,"config":{` + d + `},"layers":[{"size":1}]}`, "layers[0]"},
		"a negative size":     {`{"schemaVersion":2,"config":{` + d + `},"layers":[{"size":-1,` + d + `}]}`, "layers[0]"},
		"a page":              {`<html>`, "JSON"},
		"a damaged digest":    {`{"schemaVersion":2,"config":{"digest":"sha256:../../x"},"layers":[]}`, "cannot be read"},
	} {
		if _, err := parseDocument([]byte(c.raw), ""); !failure.Is(err, failure.BadArchive) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := `{"schemaVersion":2,"config":{` + d + `},"layers":[` + strings.TrimSuffix(strings.Repeat("{"+d+"},", 501), ",") + `]}`
	if _, err := parseDocument([]byte(many), ""); !failure.Is(err, failure.TooLarge) {
		t.Error(err)
	}
}
