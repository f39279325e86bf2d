package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/pando-os/pando/internal/agent/container"
)

// Looker performs looks.
type Looker struct {
	// Runtime runs the commands.
	Runtime container.Runtime
	// Dial connects to a task; nil: a plain dialer on the agent's own network, where tasks of the host network are.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Look looks once and returns within the timeout. It never fails: what goes wrong is in the result.
func (l *Looker) Look(ctx context.Context, containerID string, look Look) Result {
	if look.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, look.Timeout, fmt.Errorf("it took longer than %v", look.Timeout))
		defer cancel()
	}
	code, err := l.look(ctx, containerID, look.Probe)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Result{Err: err.Error()}
	}
	return Result{Code: code}
}

func (l *Looker) look(ctx context.Context, containerID string, p Probe) (int, error) {
	switch {
	case p.Command != nil:
		return l.Runtime.Run(ctx, containerID, *p.Command)
	case p.HTTP != nil:
		return l.page(ctx, p.HTTP)
	case p.TCP != nil:
		c, err := l.dial(ctx, "tcp", address(p.TCP.Port, p.TCP.IPv6))
		if err != nil {
			return 1, nil //nolint:nilerr // not reachable is an answer
		}
		return 0, c.Close()
	}
	return 0, errors.New("there is nothing to look at")
}

func address(port uint32, v6 bool) string {
	host := "127.0.0.1"
	if v6 {
		host = "::1"
	}
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}

func (l *Looker) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if l.Dial != nil {
		return l.Dial(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// page asks for a page and follows redirects, but only within the task itself: one that leads elsewhere is the answer, or
// a task could send its agent to any address. Certificates are not checked, since nobody has one for a loopback address.
func (l *Looker) page(ctx context.Context, h *HTTP) (int, error) {
	at := address(h.Port, h.IPv6)
	client := http.Client{
		Transport: &http.Transport{
			DialContext:       l.dial,
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 50 {
				return errors.New("it redirects more than fifty times")
			}
			if name := r.URL.Hostname(); r.URL.Port() != strconv.FormatUint(uint64(h.Port), 10) || name != "localhost" && !net.ParseIP(name).IsLoopback() {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.Scheme+"://"+at+h.Path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "pando")
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}
