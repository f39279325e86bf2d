//go:build unix

package sandbox

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// shown is a sandbox with something of everything, and a secret outside of it.
func shown(tb testing.TB) (f *Files, work string) {
	tb.Helper()
	work = tb.TempDir()
	path, err := Create(work, run, -1, -1)
	if err != nil {
		tb.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(work, "secret"), []byte("secret"), 0o644))
	must(os.WriteFile(path+"/stdout", []byte("one\ntwo\n"), 0o644))
	must(os.WriteFile(path+"/raw", []byte("\xff\x00\"<é"), 0o600))
	must(os.WriteFile(path+"/page.html", []byte("<p>"), 0o644))
	must(os.Mkdir(path+"/dir", 0o755))
	must(os.WriteFile(path+"/dir/inner", []byte("inner"), 0o644))
	must(os.Symlink("dir/inner", path+"/good"))
	must(os.Symlink(filepath.Join(work, "secret"), path+"/absolute"))
	must(os.Symlink("../../../../../../../../secret", path+"/relative"))
	must(os.Symlink("/", path+"/dir/top"))
	must(os.Symlink("loop", path+"/loop"))
	must(syscall.Mkfifo(path+"/pipe", 0o644))
	f = new(Files)
	f.AttachRun(work, run)
	log := filepath.Join(work, "agent.log")
	must(os.WriteFile(log, []byte("log"), 0o644))
	f.Attach("/slave/log", log)
	return f, work
}

// get asks the handler for what?query.
func get(h http.Handler, what string, q url.Values) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/files/"+what+"?"+q.Encode(), nil))
	return w.Result()
}

func body(r *http.Response) string {
	var b bytes.Buffer
	b.ReadFrom(r.Body)
	return b.String()
}

func TestFilesAreReadAsClientsOfTheOriginalExpect(t *testing.T) {
	f, work := shown(t)
	h := f.Handler(nil)
	d := run.Path(work)
	for _, tt := range []struct {
		name, what, path, query string
		status                  int
		want                    string
	}{
		{"all of a file", "read", d + "/stdout", "offset=0&length=5000", 200, `{"data":"one\ntwo\n","offset":0}`},
		{"a part", "read", d + "/stdout", "offset=2&length=3", 200, `{"data":"e\nt","offset":2}`},
		{"without a length", "read", d + "/stdout", "offset=4", 200, `{"data":"two\n","offset":4}`},
		{"a length of -1", "read", d + "/stdout", "offset=4&length=-1", 200, `{"data":"two\n","offset":4}`},
		{"the size only", "read", d + "/stdout", "offset=-1", 200, `{"data":"","offset":8}`},
		{"no offset at all", "read", d + "/stdout", "", 200, `{"data":"","offset":8}`},
		{"past the end", "read", d + "/stdout", "offset=100000&length=10", 200, `{"data":"","offset":8}`},
		{"by the virtual path", "read", run.Virtual() + "/stdout", "offset=4", 200, `{"data":"two\n","offset":4}`},
		{"by the latest run", "read", run.Latest(work) + "/dir/../stdout", "offset=4", 200, `{"data":"two\n","offset":4}`},
		{"bytes as they are", "read", d + "/raw", "offset=0", 200, "{\"data\":\"\xff\\u0000\\\"\\u003cé\",\"offset\":0}"},
		{"through a link inside", "read", d + "/good", "offset=0", 200, `{"data":"inner","offset":0}`},
		{"an attached file", "read", "/slave/log", "offset=0", 200, `{"data":"log","offset":0}`},
		{"below an attached file", "read", "/slave/log/x", "offset=0", 404, ""},
		{"nothing", "read", d + "/nothing", "", 404, ""},
		{"below a file", "read", d + "/stdout/x", "", 404, ""},
		{"without path", "read", "", "", 400, "expecting path=VALUE in the query"},
		{"a directory", "read", d, "", 400, "cannot read a directory: " + d},
		{"a bad offset", "read", d + "/stdout", "offset=x", 400, "failed to parse offset: it must be a whole number"},
		{"an offset below -1", "read", d + "/stdout", "offset=-2", 400, "offset and length must not be negative, other than -1"},
		{"a pipe", "read", d + "/pipe", "offset=0", 400, d + "/pipe is neither a file nor a directory"},
		{"an absolute link out", "read", d + "/absolute", "offset=0", 404, ""},
		{"a relative link out", "read", d + "/relative", "offset=0", 404, ""},
		{"a link in a circle", "read", d + "/loop", "offset=0", 404, ""},
		{"below a link out", "read", d + "/dir/top/etc/passwd", "offset=0", 404, ""},
		{"what is not attached", "read", "/etc/passwd", "offset=0", 404, ""},
		{"dots out of it", "read", d + strings.Repeat("/..", 20) + "/etc/passwd", "offset=0", 404, ""},
		{"a zero byte", "read", d + "/a\x00b", "", 404, ""},
		{"browsing dots out", "browse", d + strings.Repeat("/..", 20) + "/etc", "", 404, ""},
		{"browsing nothing", "browse", "/no/such", "", 404, ""},
		{"browsing a file", "browse", d + "/stdout", "", 200, "[]"},
		{"downloading a directory", "download", d, "", 400, "cannot download a directory: " + d},
		{"downloading", "download", d + "/stdout", "", 200, "one\ntwo\n"},
		{"what there is not", "burn", d, "", 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := url.ParseQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			if tt.path != "" {
				q.Set("path", tt.path)
			}
			r := get(h, tt.what, q)
			if got := body(r); r.StatusCode != tt.status || got != tt.want {
				t.Errorf("%d %q, want %d %q", r.StatusCode, got, tt.status, tt.want)
			}
			typ := "application/json"
			if tt.status != 200 {
				typ = "text/plain; charset=utf-8"
			} else if tt.what == "download" {
				typ = "application/octet-stream"
			}
			if got := r.Header.Get("Content-Type"); got != typ {
				t.Errorf("content type %q, want %q", got, typ)
			}
		})
	}
}

func TestAListingIsSortedAndShowsLinksByWhatTheyLeadTo(t *testing.T) {
	f, work := shown(t)
	list, err := f.Browse(run.Virtual())
	if err != nil {
		t.Fatal(err)
	}
	owner := new(owners)
	uid, gid := owner.user(uint32(os.Geteuid())), owner.group(uint32(os.Getegid()))
	v := run.Virtual() + "/"
	want := []Info{
		{Path: v + "absolute", Size: int64(len(work + "/secret")), Mode: "lrwxrwxrwx", Bits: 0o120777},
		{Path: v + "dir", Mode: "drwxr-xr-x", Bits: 0o40755},
		{Path: v + "good", Size: 5, Mode: "-rw-r--r--", Bits: 0o100644},
		{Path: v + "loop", Size: 4, Mode: "lrwxrwxrwx", Bits: 0o120777},
		{Path: v + "page.html", Size: 3, Mode: "-rw-r--r--", Bits: 0o100644},
		{Path: v + "pipe", Mode: "prw-r--r--", Bits: 0o10644},
		{Path: v + "raw", Size: 6, Mode: "-rw-------", Bits: 0o100600},
		{Path: v + "relative", Size: 30, Mode: "lrwxrwxrwx", Bits: 0o120777},
		{Path: v + "stdout", Size: 8, Mode: "-rw-r--r--", Bits: 0o100644},
	}
	for i := range want {
		want[i].UID, want[i].GID = uid, gid
	}
	for i := range list {
		if list[i].MTime == 0 || list[i].Nlink == 0 {
			t.Errorf("incomplete %+v", list[i])
		}
		if list[i].Path == v+"dir" {
			list[i].Size = 0 // the file system's affair
		}
	}
	if d := cmp.Diff(want, list, cmpopts.IgnoreFields(Info{}, "Nlink", "MTime")); d != "" {
		t.Error(d)
	}
}

func TestADownloadIsAnAttachmentAndNeverAPage(t *testing.T) {
	f, work := shown(t)
	for file, want := range map[string]http.Header{
		"/stdout":    {"Content-Type": {"application/octet-stream"}, "Content-Disposition": {"attachment; filename=stdout"}},
		"/page.html": {"Content-Type": {"text/html"}, "Content-Disposition": {"attachment; filename=page.html"}},
	} {
		r := get(f.Handler(nil), "download", url.Values{"path": {run.Path(work) + file}})
		for k, v := range want {
			if d := cmp.Diff(v, r.Header.Values(k)); d != "" {
				t.Error(file, d)
			}
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Error(file, "may be sniffed")
		}
	}
}

func TestNobodySeesWhatHeMayNot(t *testing.T) {
	f, work := shown(t)
	var asked []string
	h := f.Handler(func(_ *http.Request, attached string) bool {
		asked = append(asked, attached)
		return false
	})
	for _, tt := range []struct {
		what, path string
		status     int
	}{
		{"read", run.Path(work) + "/stdout", 403},
		{"browse", run.Path(work), 403},
		{"download", run.Virtual() + "/stdout", 403},
		{"debug", "", 403},
		{"read", "/etc/passwd", 404},
	} {
		if r := get(h, tt.what, url.Values{"path": {tt.path}}); r.StatusCode != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.what, tt.path, r.StatusCode, tt.status)
		}
	}
	if d := cmp.Diff([]string{run.Path(work), run.Path(work), run.Virtual(), ""}, asked); d != "" {
		t.Error(d)
	}
}

func TestOldPagesReadByCallback(t *testing.T) {
	f, work := shown(t)
	q := url.Values{"path": {run.Path(work) + "/stdout"}, "offset": {"4"}, "jsonp": {"jQuery_1.cb"}}
	r := get(f.Handler(nil), "read", q)
	if got := body(r); got != `jQuery_1.cb({"data":"two\n","offset":4});` || r.Header.Get("Content-Type") != "text/javascript" ||
		r.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%q %q", got, r.Header.Get("Content-Type"))
	}
	q.Set("jsonp", "alert(1)//")
	if got := body(get(f.Handler(nil), "read", q)); strings.Contains(got, "alert") {
		t.Errorf("%q", got)
	}
}

func TestWhatIsDetachedIsGone(t *testing.T) {
	f, work := shown(t)
	second := run
	second.Container = "c-2"
	if _, err := Create(work, second, -1, -1); err != nil {
		t.Fatal(err)
	}
	f.AttachRun(work, second)
	f.DetachRun(work, run)
	want := map[string]string{
		second.Path(work): second.Path(work), second.Latest(work): second.Path(work), second.Virtual(): second.Path(work),
		"/slave/log": filepath.Join(work, "agent.log"),
	}
	if d := cmp.Diff(want, f.Debug()); d != "" {
		t.Error(d)
	}
}

func FuzzNoPathLeadsOut(f *testing.F) {
	files, work := shown(f)
	d := run.Path(work)
	for _, s := range []string{"/stdout", "/../secret", "/dir/top/etc/passwd", "/absolute", "/dir/../../c-1/relative", "//./dir//inner", "/loop/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		for _, base := range []string{d, run.Virtual(), run.Latest(work), ""} {
			if base+rest == "/slave/log" || clean(base+rest) == "/slave/log" {
				continue
			}
			data, _, err := files.Read(base+rest, 0, -1)
			if err == nil && string(data) != "one\ntwo\n" && string(data) != "inner" && string(data) != "<p>" && string(data) != "\xff\x00\"<é" {
				t.Fatalf("%q reads %q", base+rest, data)
			}
			if list, err := files.Browse(base + rest); err == nil {
				for _, i := range list {
					if name := filepath.Base(i.Path); name == "passwd" || name == "secret" || name == "slaves" {
						t.Fatalf("%q lists %q", base+rest, i.Path)
					}
				}
			}
		}
	})
}

func FuzzReadAnswersWithJSON(f *testing.F) {
	f.Add([]byte("a\"\\\n\x00\x1f\x7f<&>é"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := appendString(nil, data)
		if !utf8.Valid(data) {
			return // then it is not JSON for strict readers, on purpose
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != string(data) {
			t.Fatalf("%q becomes %s, %v", data, strconv.Quote(string(b)), err)
		}
	})
}
