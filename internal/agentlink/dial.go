package agentlink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const dialTimeout = 5 * time.Second

// Dial asks a master for the link. elsewhere is set, and nothing else, when it names another one.
func Dial(ctx context.Context, addr string) (conn net.Conn, r *bufio.Reader, elsewhere string, err error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, "", err
	}
	defer func() {
		if err != nil || elsewhere != "" {
			_ = c.Close() // it was not used
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+Path, http.NoBody)
	if err != nil {
		return nil, nil, "", err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", Protocol)
	if err = c.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, nil, "", err
	}
	if err = req.Write(c); err != nil {
		return nil, nil, "", err
	}
	r = bufio.NewReaderSize(c, 4096)
	resp, err := http.ReadResponse(r, req) //nolint:bodyclose // the body is the connection's, which goes on or is closed above
	if err != nil {
		return nil, nil, "", err
	}
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
		return c, r, "", c.SetDeadline(time.Time{})
	case http.StatusTemporaryRedirect:
		u, perr := url.Parse(resp.Header.Get("Location"))
		if perr != nil || u.Host == "" {
			return nil, nil, "", fmt.Errorf("%s redirects to nowhere", addr)
		}
		return nil, nil, u.Host, nil
	}
	words, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // it is only shown
	return nil, nil, "", fmt.Errorf("%s answers %s: %s", addr, resp.Status, strings.TrimSpace(string(words)))
}
