package master_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/master"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/internal/store/mem"
)

// lead starts a master that leads, alone with an empty store, and returns the address of its scheduler API.
func lead(t *testing.T) string {
	t.Helper()
	metrics, err := meter.New(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	m := master.New(master.Config{Hostname: "localhost", IP: "127.0.0.1", Port: 5050, Book: cluster.Defaults(), LeaseTTL: time.Minute, Alone: true},
		master.Deps{Store: mem.NewServer(clock.Real()).Open(), Clock: clock.Real(), Log: log, Meter: metrics})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx) // it ends with the test
	}()
	t.Cleanup(func() { cancel(); <-done })
	for !m.Leading() {
		if t.Context().Err() != nil {
			t.Fatal("the master does not lead")
		}
		time.Sleep(time.Millisecond)
	}
	s := httptest.NewUnstartedServer(nil)
	s.Config = serve.Server(serve.Config{Log: log}, m.Handler())
	s.Start()
	t.Cleanup(s.Close)
	return s.URL + "/api/v1/scheduler"
}

// step is one question to the scheduler API and what the original answered. Either it is any request, or it subscribes with
// a body of JSON and is answered by a first event. In requests, <framework> and <stream> stand for the ids of the last
// subscription. Of the original's words only that there were some is known.
type step struct {
	Step      string
	Subscribe string
	First     string

	Method  string
	Header  map[string]string
	Body    string // each rune is a byte
	Chunked bool

	Status      int
	ContentType string `json:"content-type"`
	Allow       string
	Words       bool
}

// player plays the steps of one case.
type player struct {
	url               string
	framework, stream string
	ended             chan struct{} // closed when the last subscription's stream ends
}

func (p *player) fill(text string) string {
	return strings.NewReplacer("<framework>", p.framework, "<stream>", p.stream).Replace(text)
}

// subscribe opens a stream that ends with the test.
func (p *player) subscribe(t *testing.T, s step) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url, strings.NewReader(p.fill(s.Subscribe)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" || len(r.TransferEncoding) != 1 {
		t.Errorf("%s: SUBSCRIBE is answered %d %v %v", s.Step, r.StatusCode, r.Header, r.TransferEncoding)
	}
	p.stream = r.Header.Get("Mesos-Stream-Id")
	if err := uuid.Validate(p.stream); err != nil {
		t.Errorf("%s: the stream id %q: %v", s.Step, p.stream, err)
	}
	t.Cleanup(func() { _ = r.Body.Close() }) // it has been read to its end, or nobody reads it any more
	in := bufio.NewReader(r.Body)
	var first struct {
		Type       string
		Subscribed struct {
			Framework struct{ Value string } `json:"framework_id"`
		}
		Error struct{ Message string }
	}
	length, err := in.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: the stream: %v", s.Step, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(length))
	if err != nil {
		t.Fatalf("%s: a record begins with %q", s.Step, length)
	}
	record := make([]byte, n)
	if _, err := io.ReadFull(in, record); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(record, &first); err != nil {
		t.Fatalf("%s: %v in %s", s.Step, err, record)
	}
	if first.Type != s.First || first.Type == "ERROR" && first.Error.Message == "" {
		t.Errorf("%s: the first event is %s, originally %s", s.Step, record, s.First)
	}
	if first.Type == "SUBSCRIBED" {
		p.framework = first.Subscribed.Framework.Value
	}
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, in) // its end is what counts
	}()
}

// ask makes any other request.
func (p *player) ask(t *testing.T, s step) {
	t.Helper()
	body := make([]byte, 0, len(s.Body))
	for _, c := range p.fill(s.Body) {
		body = append(body, byte(c))
	}
	var in io.Reader = strings.NewReader(string(body))
	if s.Chunked {
		in = io.MultiReader(in) // of unknown length
	}
	req, err := http.NewRequestWithContext(t.Context(), s.Method, p.url, in)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range s.Header {
		req.Header.Set(k, p.fill(v))
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	words, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := step{Status: r.StatusCode, ContentType: r.Header.Get("Content-Type"), Allow: r.Header.Get("Allow"), Words: len(words) > 0}
	want := step{Status: s.Status, ContentType: s.ContentType, Allow: s.Allow, Words: s.Words}
	if got.Status != want.Status || got.ContentType != want.ContentType || got.Allow != want.Allow || got.Words != want.Words {
		t.Errorf("%s: answered %d, %q, Allow %q, %q\n  originally %d, %q, Allow %q, words: %t", s.Step,
			got.Status, got.ContentType, got.Allow, words, want.Status, want.ContentType, want.Allow, want.Words)
	}
}

// The recorded requests to the scheduler API and the original's answers: of headers, content types, bodies, members, stream
// ids, infos that are refused and updates of them.
func TestTheSchedulerAPIAnswersAsTheOriginalWasRecorded(t *testing.T) {
	b, err := os.ReadFile("testdata/scheduler.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Case  string
		Steps []step
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	url := lead(t)
	for _, c := range cases {
		t.Run(c.Case, func(t *testing.T) {
			p := &player{url: url}
			for _, s := range c.Steps {
				if s.Subscribe != "" {
					p.subscribe(t, s)
					continue
				}
				p.ask(t, s)
				if strings.Contains(s.Body, "TEARDOWN") && s.Status == http.StatusAccepted {
					<-p.ended // or the test's deadline
				}
			}
		})
	}
}
