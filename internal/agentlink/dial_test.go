package agentlink_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pando-os/pando/internal/agentlink"
)

func TestDialTakesWhateverAMasterAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer    string
		elsewhere string
		fails     string // a part of the error; empty: none
	}{
		"the link":                  {answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: pando-agent\r\n\r\nfirst"},
		"that another one leads":    {answer: "HTTP/1.1 307 Temporary Redirect\r\nLocation: //10.0.0.2:5050/pando/v1/agent\r\nContent-Length: 0\r\n\r\n", elsewhere: "10.0.0.2:5050"},
		"that it knows no leader":   {answer: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\n\r\nNo leader.", fails: "No leader."},
		"a redirect to nowhere":     {answer: "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\n\r\n", fails: "redirects to nowhere"},
		"that it is not allowed":    {answer: "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!", fails: "no!"},
		"something that is no HTTP": {answer: "SSH-2.0-OpenSSH\r\n", fails: "malformed"},
		"nothing":                   {answer: "", fails: "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			closed := make(chan error, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					closed <- err
					return
				}
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096)) // the request
				_, err = io.WriteString(conn, c.answer)
				if err == nil && c.answer != "" {
					_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
					_, err = io.Copy(io.Discard, conn)
				}
				closed <- err
			}()
			conn, r, elsewhere, err := agentlink.Dial(t.Context(), l.Addr().String())
			if c.fails == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), c.fails) || elsewhere != c.elsewhere {
				t.Fatalf("elsewhere %q, error %v", elsewhere, err)
			}
			if linked := err == nil && elsewhere == ""; linked != (conn != nil) {
				t.Fatalf("the connection is %v", conn)
			}
			if conn != nil {
				b := make([]byte, 5)
				if _, err := io.ReadFull(r, b); string(b) != "first" {
					t.Errorf("%q %v", b, err)
				}
				_ = conn.Close() // it was looked at
			}
			if err := <-closed; err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection stayed open: %v", err)
			}
		})
	}
}

func TestDialOfNobodyIsAnError(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	addr := s.Listener.Addr().String()
	s.Close()
	if conn, _, _, err := agentlink.Dial(t.Context(), addr); err == nil || conn != nil {
		t.Errorf("%v %v", conn, err)
	}
}
