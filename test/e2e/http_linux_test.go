package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pando-os/pando/mesos"
)

// reply is an answer read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask makes one request. header holds pairs; "Host" sets the request's.
func ask(t *testing.T, hc *http.Client, method, url, body string, header ...string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	must(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := hc.Do(r)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return reply{status: resp.StatusCode}
	}
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// stream is a subscription made by hand, for what client.Scheduler would never do.
type stream struct {
	t         *testing.T
	hc        *http.Client
	url       string
	id        string // Mesos-Stream-Id
	framework string
	body      io.ReadCloser
	records   *mesos.RecordReader
}

// open subscribes with a FrameworkInfo in JSON and reads SUBSCRIBED.
func open(t *testing.T, hc *http.Client, master, info string) *stream {
	t.Helper()
	s := &stream{t: t, hc: hc, url: "http://" + master + "/api/v1/scheduler"}
	call := `{"type":"SUBSCRIBE","subscribe":{"framework_info":` + info + `}}`
	if id := field(info, "id", "value"); id != "" {
		call = `{"type":"SUBSCRIBE","framework_id":{"value":"` + id + `"},"subscribe":{"framework_info":` + info + `}}`
	}
	r, err := http.NewRequest(http.MethodPost, s.url, strings.NewReader(call))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	resp, err := hc.Do(r)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body) // it is for showing
		t.Fatalf("SUBSCRIBE: %d %s", resp.StatusCode, b)
	}
	t.Cleanup(func() { _ = resp.Body.Close() }) // a stream's end has no error that matters
	s.body, s.id, s.records = resp.Body, resp.Header.Get("Mesos-Stream-Id"), mesos.NewRecordReader(resp.Body, 64<<20)
	first := s.next()
	s.framework = field(first, "subscribed", "framework_id", "value")
	if s.framework == "" {
		t.Fatalf("the first event is %s", first)
	}
	return s
}

// next reads an event.
func (s *stream) next() string {
	s.t.Helper()
	b, err := s.records.Next()
	if err != nil {
		s.t.Fatalf("the stream ended: %v", err)
	}
	return string(b)
}

// event reads events up to one of a type.
func (s *stream) event(kind string) string {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if e := s.next(); field(e, "type") == kind {
			return e
		}
	}
	s.t.Fatalf("no %s came", kind)
	return ""
}

// call sends a call in JSON, for a framework, over somebody's client and with a stream id.
func call(t *testing.T, hc *http.Client, master, framework, streamID, rest string) reply {
	t.Helper()
	return ask(t, hc, http.MethodPost, "http://"+master+"/api/v1/scheduler", fmt.Sprintf(`{"framework_id":{"value":%q},%s}`, framework, rest),
		"Content-Type", "application/json", "Mesos-Stream-Id", streamID)
}

// field digs a text out of JSON; what is not there is empty.
func field(text string, path ...string) string {
	var v any
	if json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&v) != nil {
		return ""
	}
	for _, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			if len(x) == 0 {
				return ""
			}
			m, _ := x[0].(map[string]any)
			v = m[p]
		}
	}
	s, _ := v.(string)
	return s
}
