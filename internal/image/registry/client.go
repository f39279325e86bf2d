// Package registry asks image registries for manifests and blobs, by the Docker registry v2 API, which the OCI distribution
// specification took over. It retries what is worth it, resumes what was cut off, and verifies what came.
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/reference"
)

// Config is what all registries have in common.
type Config struct {
	// RootCAs verify the certificates of registries; nil: those of the system.
	RootCAs *x509.CertPool
	// PlainHTTP lists the registries (HOST or HOST:PORT) that may be asked without TLS. No other is, not even on loopback.
	PlainHTTP []string
	// Proxy is asked for the proxy of each request, as in http.Transport; nil: none is used.
	Proxy func(*http.Request) (*url.URL, error)
	// Stall is how long an answer may go without a byte, at most twice that; 0: one minute.
	Stall time.Duration
	// Attempts bounds how often in a row a request is made that fails for a reason that may pass, or a transfer goes on that was
	// cut off; 0: 5. They are half a second apart at first, and then twice as long each time.
	Attempts int
	// Clock is the time; nil: the machine's own.
	Clock clock.Clock
}

// Client asks registries. It may be used by many goroutines.
type Client struct {
	cfg  Config
	base *http.Transport
}

const (
	defaultStall    = time.Minute
	defaultAttempts = 5
	firstPause      = 500 * time.Millisecond
	dialTimeout     = 15 * time.Second
)

// New makes a client. A name in PlainHTTP that cannot be a registry's is a failure.Invalid.
func New(cfg Config) (*Client, error) {
	for _, host := range cfg.PlainHTTP {
		if err := reference.CheckRegistry(host); err != nil {
			return nil, failure.Wrap(failure.Invalid, err, "PlainHTTP")
		}
	}
	if cfg.Stall <= 0 {
		cfg.Stall = defaultStall
	}
	if cfg.Attempts <= 0 {
		cfg.Attempts = defaultAttempts
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	return &Client{cfg: cfg, base: &http.Transport{
		Proxy:               cfg.Proxy,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout,
		DisableCompression:  true, // digests are of the bytes as they are
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,

		MaxResponseHeaderBytes: 1 << 20,
	}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.base.CloseIdleConnections() }

// Repository is one repository of a registry, logged in to. It may be used by many goroutines, and belongs to one pull.
type Repository struct {
	client   *Client
	registry string
	path     string
	scheme   string
	http     *http.Client
	secrets  []string
}

// Open logs in to a repository with the first of the credentials that has something for it; nil ones are skipped.
func (c *Client) Open(ctx context.Context, ref reference.Reference, credentials ...*Credentials) (*Repository, error) {
	if ref.Registry == "" {
		return nil, failure.New(failure.Invalid, "the name says no registry, and no default registry is set: write REGISTRY/%s, set a default registry, or load the image from a file", ref)
	}
	var opts []name.Option
	scheme := "https"
	if slices.Contains(c.cfg.PlainHTTP, ref.Registry) {
		opts, scheme = append(opts, name.Insecure), "http"
	}
	reg, err := name.NewRegistry(ref.Registry, opts...)
	if err != nil {
		return nil, failure.New(failure.Invalid, "the registry %q: %s", ref.Registry, err)
	}
	r := &Repository{client: c, registry: ref.Registry, path: ref.Repository, scheme: scheme}
	auth := authn.Anonymous
	for _, cr := range credentials {
		if found, ok := cr.find(ref.Registry, ref.Repository); ok {
			auth, r.secrets = authn.FromConfig(found), secrets(found)
			break
		}
	}
	// The transport's own loggers are never switched on; it pings, finds out the kind of login, and fetches a token.
	err = c.retry(ctx, func() error {
		ctx, w := c.watch(ctx)
		defer w.stop()
		scopes := []string{"repository:" + ref.Repository + ":" + transport.PullScope}
		rt, err := transport.NewWithContext(ctx, reg, auth, &guard{base: c.base, plain: c.cfg.PlainHTTP, registry: ref.Registry}, scopes)
		if err != nil {
			return r.explain(ctx, err)
		}
		r.http = &http.Client{Transport: rt, CheckRedirect: redirects}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// guard is below everything that sends. It keeps requests off plain HTTP that nobody allowed: the transport above it would try it
// for registries on loopback and in private networks, and a registry may redirect to it.
type guard struct {
	base     http.RoundTripper
	plain    []string
	registry string
}

// errPlain is a request that would have gone without TLS.
type errPlain struct{ host string }

func (e *errPlain) Error() string {
	return "it would have to be asked over plain HTTP, which is not allowed for " + e.host + "; give it a certificate, or list it in PlainHTTP"
}

// RoundTrip sends a request, or refuses to.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" && r.URL.Host == g.registry && slices.Contains(g.plain, g.registry) {
		// The settings say that it speaks HTTP, so the other is not tried first.
		r = r.Clone(r.Context())
		r.URL.Scheme = "http"
	}
	if r.URL.Scheme != "https" && !slices.Contains(g.plain, r.URL.Host) {
		return nil, &errPlain{r.URL.Host}
	}
	return g.base.RoundTrip(r)
}

func redirects(_ *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("it redirects more than ten times")
	}
	return nil
}

// retry makes a request again while it fails for a reason that may pass.
func (c *Client) retry(ctx context.Context, try func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil || attempt >= c.cfg.Attempts || !passes(err) {
			return err
		}
		if err := clock.Sleep(ctx, c.cfg.Clock, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// passing marks a failure that may be over when the same is tried again.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

func passes(err error) bool {
	_, ok := errors.AsType[passing](err)
	return ok
}

// explain gives an error of a request its kind and words. It repeats neither bodies nor headers of answers, and no secret: an
// answer may quote what was sent.
func (r *Repository) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		return cause
	}
	if e, ok := errors.AsType[*failure.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*transport.Error](err); ok {
		return r.status(e)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return failure.New(failure.Unreachable, "the certificate of the registry %s is not to be trusted: %s; add its authority to the trusted ones (RootCAs)", r.registry, r.hush(e.Err.Error()))
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return failure.New(failure.Unreachable, "the registry %s speaks plain HTTP; give it a certificate, or list it in PlainHTTP", r.registry)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		if plain, ok := errors.AsType[*errPlain](e); ok {
			return failure.New(failure.Unreachable, "the registry %s cannot be asked: %s", r.registry, plain)
		}
		return passing{failure.New(failure.Unreachable, "the registry %s does not answer: %s; check its name, and that this machine can reach it", r.registry, r.hush(e.Err.Error()))}
	}
	if strings.Contains(err.Error(), "realm") {
		return failure.New(failure.Unauthorised, "the registry %s asks to log in at a place that it may not name (its realm): %s", r.registry, r.hush(err.Error()))
	}
	// What is left is about tokens; its words may hold one.
	return failure.New(failure.Unauthorised, "the registry %s gave no token; check the credentials and its token server", r.registry)
}

// status explains an answer that is no success.
func (r *Repository) status(e *transport.Error) error {
	said := ""
	if len(e.Errors) > 0 {
		said = ": " + r.hush(string(e.Errors[0].Code)+" "+e.Errors[0].Message)
	}
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		what := "without credentials"
		if len(r.secrets) > 0 {
			what = "with these credentials"
		}
		return failure.New(failure.Unauthorised, "the registry %s does not give %s %s (%d%s); check the docker config of the image or the cluster, and that the repository exists", r.registry, r.path, what, e.StatusCode, said)
	case http.StatusNotFound:
		return failure.New(failure.NotFound, "the registry %s does not have it in %s (404%s); check the name and the tag", r.registry, r.path, said)
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return passing{failure.New(failure.Unreachable, "the registry %s cannot answer now (%d%s); try again later", r.registry, e.StatusCode, said)}
	}
	return failure.New(failure.Unreachable, "the registry %s answers %d %s%s", r.registry, e.StatusCode, http.StatusText(e.StatusCode), said)
}

// hush makes foreign words safe to repeat: one line, bounded, without a secret.
func (r *Repository) hush(s string) string {
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}
