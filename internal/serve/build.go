package serve

import (
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	v0 "github.com/pando-os/pando/mesos/v0"
)

// Build gives the members that /version and the states begin with, as JSON without braces: the version of the original
// whose behaviour this is, and when the program's sources were committed (when its file was written, where it does not know).
func Build(version string) []byte {
	made := committed()
	b := strconv.AppendQuote([]byte(`"version":`), version)
	b = strconv.AppendQuote(append(b, `,"build_date":`...), made.Format(time.DateTime))
	b = strconv.AppendInt(append(b, `,"build_time":`...), made.Unix(), 10)
	return append(b, `.0,"build_user":"pando"`...)
}

// VersionInfo says the same in the words of the v1 APIs.
func VersionInfo(version string) *mesosv1.VersionInfo {
	made := committed()
	return &mesosv1.VersionInfo{
		Version: &version, BuildDate: new(made.Format(time.DateTime)), BuildTime: new(float64(made.Unix())),
		BuildUser: new("pando"),
	}
}

// committed is when the program's sources were, or else when its file was written.
func committed() time.Time {
	made := time.Unix(0, 0).UTC()
	if path, err := os.Executable(); err == nil {
		if st, err := os.Stat(path); err == nil {
			made = st.ModTime().UTC()
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				made = t.UTC()
			}
		}
	}
	return made
}

// Settings gives settings as a JSON object of strings, by name. Later ones take the place of earlier ones.
func Settings(sets ...map[string]string) []byte {
	all := map[string]string{}
	for _, s := range sets {
		maps.Copy(all, s)
	}
	b := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(v0.Text(b, name), ':')
		b = v0.Text(b, all[name])
	}
	return append(b, '}')
}
