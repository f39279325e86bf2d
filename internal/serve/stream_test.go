package serve

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/mesos"
)

// streamOf asks a handler and gives the answer as it came.
func streamOf(t *testing.T, h http.HandlerFunc) (net.Conn, *bufio.Reader) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

func words(dst []byte, event any) []byte { return append(dst, event.(string)...) }

func TestAStreamIsAHeadAndChunksOfOneRecordAndAnEnd(t *testing.T) {
	_, in := streamOf(t, func(w http.ResponseWriter, _ *http.Request) {
		head := StreamHead{ContentType: "application/recordio", MessageType: TypeJSON, ID: "the-id", Now: time.Unix(0, 0)}
		s, err := OpenStream(w, head, loop.OutboxLimits{}, words, func(string) {})
		if err != nil {
			t.Error(err)
			return
		}
		s.Send("{}", 2)
		s.Send("", 0) // one that cannot be encoded
		s.Send("twelve bytes", 12)
		s.Finish()
		s.Watch()
	})
	all, err := io.ReadAll(in)
	want := "HTTP/1.1 200 OK\r\nContent-Type: application/recordio\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n" +
		"Message-Content-Type: application/json\r\nMesos-Stream-Id: the-id\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n" +
		"4\r\n2\n{}\r\nf\r\n12\ntwelve bytes\r\n0\r\n\r\n"
	if d := cmp.Diff(want, string(all)); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestAStreamBeatsUntilItsClientGoes(t *testing.T) {
	gone := make(chan struct{})
	c, in := streamOf(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(gone)
		s, err := OpenStream(w, StreamHead{}, loop.OutboxLimits{}, words, func(string) {})
		if err != nil {
			t.Error(err)
			return
		}
		s.Beat(5*time.Millisecond, "tock")
		s.Watch()
	})
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	records := mesos.NewRecordReader(r.Body, 100)
	for range 3 {
		if b, err := records.Next(); string(b) != "tock" || err != nil {
			t.Fatalf("%q %v", b, err)
		}
	}
	_ = c.Close() // that is what is tested
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the client's leaving was not noticed")
	}
}

func TestAPacedStreamHoldsItsWriterUntilItsReaderReads(t *testing.T) {
	const record, records = 64 << 10, 400 // more than any socket keeps
	written, end := make(chan int, 2*records), make(chan error, 1)
	_, in := streamOf(t, func(w http.ResponseWriter, _ *http.Request) {
		s, err := OpenPacedStream(w, StreamHead{ContentType: TypeProtobuf})
		if err != nil {
			end <- err
			return
		}
		s.Beat([]byte("first"))
		payload := []byte(strings.Repeat("x", record))
		for i := 0; i < records && err == nil; i++ {
			err = s.Write(payload)
			written <- i
		}
		s.Finish()
		s.Finish() // twice is once
		if !errors.Is(s.Write(payload), net.ErrClosed) {
			t.Error("an ended stream took a record")
		}
		end <- err
	})
	for last := -1; last != len(written); time.Sleep(50 * time.Millisecond) { // until it stands still
		last = len(written)
	}
	if n := len(written); n == records {
		t.Fatalf("all %d records were written and nobody has read", n)
	}
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	reader, n := mesos.NewRecordReader(r.Body, record), 0
	if b, err := reader.Next(); string(b) != "first" || err != nil {
		t.Fatalf("%q %v", b, err)
	}
	for {
		b, err := reader.Next()
		if err == io.EOF {
			break
		}
		if len(b) != record || err != nil {
			t.Fatalf("record %d has %d bytes: %v", n, len(b), err)
		}
		n++
	}
	if n != records {
		t.Errorf("%d records came", n)
	}
	if err := <-end; err != nil {
		t.Error(err)
	}
}
