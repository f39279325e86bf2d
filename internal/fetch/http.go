package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// client makes one connection per download and keeps none. It knows no proxy: the agent connects to nothing but what the
// URI names, and where that redirects to.
var client = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true, // the file as it is, not as it travels
		ForceAttemptHTTP2:  true,
	},
	CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("it redirects more than ten times")
		}
		if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return errors.New("it redirects from https to " + r.URL.Scheme)
		}
		if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
			return fmt.Errorf("it redirects to %s", r.URL.Redacted())
		}
		return nil
	},
}

// pathOf gives the path of a URI without query and escapes, or the path itself.
func pathOf(uri string) (string, error) {
	if !strings.Contains(uri, "://") || strings.HasPrefix(strings.ToLower(uri), "file://") {
		return uri, nil
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", errors.New("it is no valid URI")
	}
	return u.Path, nil
}

// download starts a transfer that ends with an error when no byte has come for the time of stall.
func download(ctx context.Context, uri string, stall time.Duration) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stalled := fmt.Errorf("no byte has come for %v; the server is too slow, or raise --fetcher-stall-timeout", stall)
	timer := time.AfterFunc(stall, func() { cancel(stalled) })
	fail := func(err error) (io.ReadCloser, error) {
		timer.Stop()
		if context.Cause(ctx) != nil {
			err = context.Cause(ctx)
		}
		cancel(nil)
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return fail(errors.New("it is no valid URI"))
	}
	req.Header.Set("User-Agent", "pando")
	res, err := client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok { // it names the URI, as our own error will
			err = ue.Err
		}
		return fail(err)
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return fail(fmt.Errorf("the server answers %s", res.Status))
	}
	return &transfer{res.Body, ctx, cancel, timer, stall}, nil
}

// transfer is the body of an answer, watched for stalls.
type transfer struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func (t *transfer) Read(p []byte) (int, error) {
	n, err := t.body.Read(p)
	if n > 0 {
		t.timer.Reset(t.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) && context.Cause(t.ctx) != nil {
		err = context.Cause(t.ctx)
	}
	return n, err
}

func (t *transfer) Close() error {
	t.timer.Stop()
	t.cancel(nil)
	return t.body.Close()
}
