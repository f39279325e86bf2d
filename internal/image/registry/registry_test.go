package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/reference"
)

// place is a registry in this process with a hook before every answer.
type place struct {
	*httptest.Server
	host string
	mu   sync.Mutex
	hook func(w http.ResponseWriter, r *http.Request, next http.Handler)
	seen []string
}

func newPlace(t *testing.T, secure bool) *place {
	t.Helper()
	p := &place{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("Range"))
		hook := p.hook
		p.mu.Unlock()
		if hook != nil && r.Method != http.MethodPut && r.Method != http.MethodPost {
			hook(w, r, inner)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if secure {
		p.Server = httptest.NewUnstartedServer(h)
		p.Config.ErrorLog = log.New(io.Discard, "", 0)
		p.StartTLS()
	} else {
		p.Server = httptest.NewServer(h)
	}
	t.Cleanup(func() { p.CloseClientConnections(); p.Close() })
	p.host = p.Listener.Addr().String()
	return p
}

func (p *place) answer(hook func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook, p.seen = hook, nil
}

func (p *place) asked(prefix string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.seen {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// put stores a blob and gives its descriptor.
func (p *place) put(t *testing.T, body []byte) v1.Descriptor {
	t.Helper()
	h, n, err := v1.SHA256(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	p.do(t, http.MethodPost, "/v2/app/blobs/uploads/?digest="+h.String(), body)
	return v1.Descriptor{Digest: h, Size: n}
}

func (p *place) do(t *testing.T, method, path string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	resp, err := p.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode > 299 {
		t.Fatal(resp.Status)
	}
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (p *place) plain(t *testing.T) *Client {
	t.Helper()
	return client(t, Config{PlainHTTP: []string{p.host}, Attempts: 3, Stall: time.Hour, Clock: hasty{clock.Real()}})
}

// hasty waits a hundredth of what it is asked to.
type hasty struct{ clock.Clock }

func (h hasty) NewTimer(d time.Duration) clock.Timer { return h.Clock.NewTimer(d / 100) }

func (p *place) ref() reference.Reference {
	return reference.Reference{Registry: p.host, Repository: "app", Tag: "1"}
}

func temp(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func fetchBlob(t *testing.T, p *place, d v1.Descriptor) ([]byte, error) {
	t.Helper()
	r, err := p.plain(t).Open(t.Context(), p.ref())
	if err != nil {
		return nil, err
	}
	f := temp(t)
	if err := r.Blob(t.Context(), d, f, nil); err != nil {
		return nil, err
	}
	return os.ReadFile(f.Name())
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// cutAfter sends n bytes of each answer about a blob and breaks the connection.
func cutAfter(n int64, times int) func(http.ResponseWriter, *http.Request, http.Handler) {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		cut := strings.Contains(r.URL.Path, "/blobs/") && times > 0
		if cut {
			times--
		}
		mu.Unlock()
		if !cut {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n}, r)
		panic(http.ErrAbortHandler)
	}
}

type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.ResponseWriter.Write(p)
	c.left -= int64(n)
	c.ResponseWriter.(http.Flusher).Flush()
	if err == nil && c.left == 0 {
		err = io.ErrShortWrite
	}
	return n, err
}

func TestABlobThatIsCutOffGoesOnWhereItEnded(t *testing.T) {
	p := newPlace(t, false)
	body := random(t, 1<<20)
	d := p.put(t, body)
	p.answer(cutAfter(300_000, 3))
	got, err := fetchBlob(t, p, d)
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n := p.asked("GET /v2/app/blobs/" + d.Digest.String() + " bytes="); n != 3 {
		t.Errorf("%d requests for a part, want 3: %q", n, p.seen)
	}
}

func TestARegistryWithoutRangesSendsTheBlobAgain(t *testing.T) {
	p := newPlace(t, false)
	body := random(t, 100_000)
	d := p.put(t, body)
	cut := cutAfter(30_000, 2)
	p.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		cut(w, r, next)
	})
	if got, err := fetchBlob(t, p, d); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestABlobThatIsNotWhatItsDigestSaysIsRefused(t *testing.T) {
	body := random(t, 1000)
	for name, c := range map[string]struct {
		hook  func(d v1.Descriptor) func(http.ResponseWriter, *http.Request, http.Handler)
		kind  failure.Kind
		words string
	}{
		"other bytes": {func(v1.Descriptor) func(http.ResponseWriter, *http.Request, http.Handler) {
			return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = w.Write(make([]byte, 1000)) }
		}, failure.BadDigest, "as it should be"},
		"more bytes": {func(v1.Descriptor) func(http.ResponseWriter, *http.Request, http.Handler) {
			return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = w.Write(append(body, 'x')) }
		}, failure.BadDigest, "longer"},
		"fewer bytes, always": {func(v1.Descriptor) func(http.ResponseWriter, *http.Request, http.Handler) {
			return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				if r.URL.Path != "/v2/" {
					_, _ = w.Write(body[:0])
				}
			}
		}, failure.Unreachable, "broke off"},
		"another part": {func(v1.Descriptor) func(http.ResponseWriter, *http.Request, http.Handler) {
			first := cutAfter(500, 1)
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Header.Get("Range") != "" {
					r.Header.Set("Range", "bytes=0-999")
				}
				first(w, r, next)
			}
		}, failure.BadDigest, "resumes"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, false)
			d := p.put(t, body)
			p.answer(c.hook(d))
			if _, err := fetchBlob(t, p, d); !failure.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v is %v, want %v with words on %q", err, failure.Of(err), c.kind, c.words)
			}
		})
	}
}

func TestAManifestIsVerified(t *testing.T) {
	p := newPlace(t, false)
	raw := []byte(`{"schemaVersion":2}`)
	p.do(t, http.MethodPut, "/v2/app/manifests/1", raw)
	h, _, _ := v1.SHA256(bytes.NewReader(raw))
	r, err := p.plain(t).Open(t.Context(), p.ref())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", h.String()} {
		d, err := r.Manifest(t.Context(), id)
		if err != nil || d.Digest != h || !bytes.Equal(d.Raw, raw) {
			t.Errorf("%s: %+v, %v", id, d, err)
		}
	}
	if got, err := r.Resolve(t.Context(), "1"); err != nil || got != h {
		t.Errorf("%v, %v", got, err)
	}
	p.answer(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		_, _ = w.Write(raw)
	})
	if _, err := r.Manifest(t.Context(), "1"); !failure.Is(err, failure.BadDigest) {
		t.Errorf("the tag's digest: %v", err)
	}
	if _, err := r.Manifest(t.Context(), "sha256:"+strings.Repeat("1", 64)); !failure.Is(err, failure.BadDigest) {
		t.Errorf("a digest: %v", err)
	}
	p.answer(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		_, _ = io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat(" ", MaxDocument+10)), MaxDocument+10))
	})
	if _, err := r.Manifest(t.Context(), "1"); !failure.Is(err, failure.TooLarge) {
		t.Errorf("a manifest without an end: %v", err)
	}
}

const password = "hunter2-very-secret"

func dockerConfig(host string) []byte {
	return fmt.Appendf(nil, `{"auths":{"https://%s/v1/":{"auth":"%s"}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:"+password)))
}

// basic lets in who knows the password.
func basic(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if user, pw, _ := r.BasicAuth(); user != "me" || pw != password {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":"%s is wrong, and so is %s"}]}`, pw, r.Header.Get("Authorization"))
		return
	}
	next.ServeHTTP(w, r)
}

// token gives a token for the password, and lets in who has it. Tokens are good once.
func token(host string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/token" {
			if _, pw, _ := r.BasicAuth(); pw != password {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprintf(w, `{"token":"good for %s"}`, r.URL.Query().Get("scope"))
			return
		}
		if r.Header.Get("Authorization") != "Bearer good for repository:app:pull" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s",scope="repository:app:pull"`, host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}
}

func TestCredentialsOpenWhatTheyAreFor(t *testing.T) {
	p := newPlace(t, false)
	body := []byte("body")
	d := p.put(t, body)
	good, err := ParseCredentials(dockerConfig(p.host))
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseCredentials(dockerConfig("other.test"))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := ParseCredentials([]byte(strings.ReplaceAll(string(dockerConfig(p.host)), base64.StdEncoding.EncodeToString([]byte("me:"+password)), base64.StdEncoding.EncodeToString([]byte("me:wrong-but-secret")))))
	if err != nil {
		t.Fatal(err)
	}
	for name, hook := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){"basic": basic, "token": token(p.host)} {
		t.Run(name, func(t *testing.T) {
			p.answer(hook)
			fetch := func(cr ...*Credentials) error {
				r, err := p.plain(t).Open(t.Context(), p.ref(), cr...)
				if err != nil {
					return err
				}
				return r.Blob(t.Context(), d, temp(t), nil)
			}
			if err := fetch(nil, other, good); err != nil {
				t.Errorf("with credentials: %v", err)
			}
			for what, cr := range map[string][]*Credentials{"none": nil, "another registry's": {other}, "wrong ones": {wrong}, "wrong ones first": {wrong, good}} {
				err := fetch(cr...)
				if !failure.Is(err, failure.Unauthorised) || !strings.Contains(err.Error(), "docker config") {
					t.Errorf("%s: %v is %v", what, err, failure.Of(err))
				}
				if s := fmt.Sprintf("%v %+v %#v", err, err, cr); strings.Contains(s, "wrong-but-secret") || strings.Contains(s, password) || strings.Contains(s, base64.StdEncoding.EncodeToString([]byte("me:wrong-but-secret"))) {
					t.Errorf("%s: a secret in %q", what, s)
				}
			}
		})
	}
}

func TestCredentialsAreNotSentToWhereARegistryRedirects(t *testing.T) {
	p, elsewhere := newPlace(t, false), newPlace(t, false)
	d := p.put(t, []byte("body"))
	elsewhere.put(t, []byte("body"))
	var leaked string
	elsewhere.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		leaked += r.Header.Get("Authorization")
		next.ServeHTTP(w, r)
	})
	p.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		basic(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") {
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			next.ServeHTTP(w, r)
		}))
	})
	cr, err := ParseCredentials(dockerConfig(p.host))
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, Config{PlainHTTP: []string{p.host, elsewhere.host}})
	r, err := c.Open(t.Context(), p.ref(), cr)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Blob(t.Context(), d, temp(t), nil); err != nil || leaked != "" {
		t.Errorf("%v, credentials sent: %q", err, leaked)
	}
	// A redirect to plain HTTP that nobody allowed is refused.
	r, err = p.plain(t).Open(t.Context(), p.ref(), cr)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Blob(t.Context(), d, temp(t), nil); !failure.Is(err, failure.Unreachable) || !strings.Contains(err.Error(), "PlainHTTP") {
		t.Errorf("redirected to plain HTTP: %v", err)
	}
}

func TestPlainHTTPAndUnknownAuthoritiesNeedToBeAllowed(t *testing.T) {
	open, secure := newPlace(t, false), newPlace(t, true)
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for _, c := range []struct {
		name  string
		cfg   Config
		host  string
		words string // empty: it works
	}{
		{"plain and listed", Config{PlainHTTP: []string{open.host}}, open.host, ""},
		{"plain on loopback and not listed", Config{PlainHTTP: []string{"127.0.0.1:1"}}, open.host, "PlainHTTP"},
		{"TLS with a trusted authority", Config{RootCAs: pool}, secure.host, ""},
		{"TLS with another authority", Config{RootCAs: x509.NewCertPool()}, secure.host, "RootCAs"},
		{"TLS with the system's authorities", Config{}, secure.host, "RootCAs"},
		{"nobody there, plain", Config{PlainHTTP: []string{free.Addr().String()}, Attempts: 1}, free.Addr().String(), "does not answer"},
		{"nobody there", Config{Attempts: 1}, free.Addr().String(), "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := client(t, c.cfg).Open(t.Context(), reference.Reference{Registry: c.host, Repository: "app", Tag: "1"})
			if c.words == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !failure.Is(err, failure.Unreachable) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v (%v), want words on %q", err, failure.Of(err), c.words)
			}
		})
	}
}

func TestWhatPassesIsTriedAgainAndTheRestIsNot(t *testing.T) {
	p := newPlace(t, false)
	d := p.put(t, []byte("body"))
	for _, c := range []struct {
		status, times, want int
		kind                failure.Kind // Internal: it works
	}{
		{http.StatusServiceUnavailable, 1, 2, failure.Internal},
		{http.StatusTooManyRequests, 1, 2, failure.Internal},
		{http.StatusBadGateway, 100, 3, failure.Unreachable},
		{http.StatusNotFound, 1, 1, failure.NotFound},
		{http.StatusForbidden, 1, 1, failure.Unauthorised},
		{http.StatusTeapot, 1, 1, failure.Unreachable},
	} {
		left := c.times
		p.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path != "/v2/" && left > 0 {
				left--
				http.Error(w, "<html>"+strings.Repeat("long ", 1000), c.status)
				return
			}
			next.ServeHTTP(w, r)
		})
		_, err := fetchBlob(t, p, d)
		if (err == nil) != (c.kind == failure.Internal) || (err != nil && failure.Of(err) != c.kind) {
			t.Errorf("%d: %v is %v, want %v", c.status, err, failure.Of(err), c.kind)
		}
		if n := p.asked("GET /v2/app/"); n != c.want {
			t.Errorf("%d: asked %d times, want %d", c.status, n, c.want)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%d: an error of %d bytes", c.status, len(err.Error()))
		}
	}
}

func TestARegistryThatHangsIsLeft(t *testing.T) {
	p := newPlace(t, false)
	d := p.put(t, random(t, 100_000))
	let := make(chan struct{})
	hang := func(where string, bytes int64) {
		p.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.URL.Path, where) {
				if bytes > 0 {
					next.ServeHTTP(&cutter{ResponseWriter: w, left: bytes}, r)
				}
				<-let
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	defer close(let)
	c := client(t, Config{PlainHTTP: []string{p.host}, Attempts: 1, Stall: 50 * time.Millisecond})
	fetch := func(ctx context.Context) error {
		r, err := c.Open(ctx, p.ref())
		if err != nil {
			return err
		}
		return r.Blob(ctx, d, temp(t), nil)
	}
	for name, at := range map[string]func(){"at login": func() { hang("/v2/", 0) }, "at the blob": func() { hang("/blobs/", 0) }, "in the blob": func() { hang("/blobs/", 1000) }} {
		at()
		if err := fetch(t.Context()); !failure.Is(err, failure.Unreachable) || !strings.Contains(err.Error(), "no byte has come") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c = client(t, Config{PlainHTTP: []string{p.host}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := fetch(ctx); !failure.Is(err, failure.Canceled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's own time: %v", err)
	}
}

func TestADockerConfigIsReadAsItsProgramsWriteIt(t *testing.T) {
	c, err := ParseCredentials([]byte(`{"auths":{
		"r.test": {"username":"a","password":"1"}, "https://r.test/team": {"auth":"YjoyeA=="}, "http://s.test:5000/v2/": {"identitytoken":"it"},
		"empty.test": {}
	}, "credsStore": "desktop"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct{ registry, repository, want string }{
		{"r.test", "app", "a"},
		{"r.test", "team/app", "b"},
		{"r.test", "teams/app", "a"},
		{"r.test", "team", "b"},
		{"empty.test", "app", ""},
		{"r.test:443", "app", ""},
		{"x.test", "r.test", ""},
	} {
		got, ok := c.find(q.registry, q.repository)
		if got.Username != q.want || ok != (q.want != "") {
			t.Errorf("%s/%s: %q", q.registry, q.repository, got.Username)
		}
	}
	if got, _ := c.find("s.test:5000", "x"); got.IdentityToken != "it" {
		t.Error("no identity token")
	}
	for _, bad := range []string{`{`, `[]`, `{"auths":{"r.test":{"auth":"not-base64-but-secret"}}}`, `{"auths":{"r.test":"secret"}}`, `{"credsStore":"secret-store"}`, `{"auths":"` + strings.Repeat("x", maxCredentials) + `"}`} {
		_, err := ParseCredentials([]byte(bad))
		if !failure.Is(err, failure.Invalid) || strings.Contains(err.Error(), "secret-") || strings.Contains(err.Error(), "but-secret") {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
}

func FuzzParseCredentials(f *testing.F) {
	f.Add(dockerConfig("r.test"))
	f.Add([]byte(`{"auths":{"":{"auth":""}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCredentials(b)
		if err != nil {
			if !failure.Is(err, failure.Invalid) {
				t.Error(err)
			}
			return
		}
		c.find("r.test", "a/b")
	})
}
