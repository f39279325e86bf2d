// Package client speaks the HTTP APIs of a cluster: Scheduler is a framework's connection to the master, Operator asks and
// orders what people ask and order, and Agent reads what an agent knows and what its tasks wrote. They work with Pando and
// with Apache Mesos alike, except for the few calls that say otherwise.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pando-os/pando/internal/fault"
)

// StatusError is a refusal: the HTTP status that came instead of an answer, and what the server said. Find it with
// errors.As.
type StatusError struct {
	Status  int
	Message string
}

// Error is what the server said, or the status in words.
func (e *StatusError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	}
	return e.Message
}

// maxMessage is how much of a refusal's body is kept.
const maxMessage = 4 << 10

// refusal reads the error that a response of 300 or more stands for and closes its body.
func refusal(r *http.Response) error {
	defer r.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(r.Body, maxMessage)) // what could be read is better than nothing
	return fault.Wrap(fault.FromStatus(r.StatusCode), &StatusError{r.StatusCode, strings.TrimSpace(string(said))})
}

// masters are the addresses a cluster answers at. Requests go to the one that answered last; the next one is tried when it
// cannot be reached or has no leader to name. Redirects to the leader are followed by http.Client.
type masters struct {
	urls []*url.URL
	at   atomic.Uint32
	http *http.Client
}

// newMasters reads addresses of the form "host:port" or "http://host:port".
func newMasters(addresses []string, hc *http.Client) (*masters, error) {
	if len(addresses) == 0 {
		return nil, fault.New(fault.Invalid, "no address of a master is given")
	}
	if hc == nil {
		hc = shared()
	}
	m := &masters{http: hc}
	for _, a := range addresses {
		u, err := baseURL(a)
		if err != nil {
			return nil, err
		}
		m.urls = append(m.urls, u)
	}
	return m, nil
}

// patience is how long a server may think before it begins to answer; one that takes longer counts as frozen.
const patience = 30 * time.Second

// shared is the client of everybody who brings none: more connections per host stay open than net/http keeps, since a
// scheduler sends many small calls at once to one master.
var shared = sync.OnceValue(func() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	transport.ResponseHeaderTimeout = patience
	return &http.Client{Transport: transport}
})

func baseURL(address string) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, fault.New(fault.Invalid, "the address %q is not of the form HOST:PORT or http://HOST:PORT", address)
	}
	u.Path = ""
	return u, nil
}

// do sends what build makes for one master after another until one answers with anything but 503. The caller closes the body
// of the answer, which is below 300.
func (m *masters) do(ctx context.Context, build func(base *url.URL) (*http.Request, error)) (*http.Response, error) {
	var failed error
	first := m.at.Load()
	for i := range uint32(len(m.urls)) {
		at := (first + i) % uint32(len(m.urls))
		request, err := build(m.urls[at])
		if err != nil {
			return nil, err
		}
		response, err := send(m.http, request)
		if err == nil || !fault.Is(err, fault.Unavailable) {
			m.at.Store(at)
			return response, err
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// send performs one request; an answer of 300 or more is its error.
func send(hc *http.Client, request *http.Request) (*http.Response, error) {
	response, err := hc.Do(request)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s does not answer: %w", request.URL.Host, bare(err))
	}
	if response.StatusCode >= 300 {
		return nil, refusal(response)
	}
	return response, nil
}

// bare takes away the URL that http.Client puts before an error; the caller names the host.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
