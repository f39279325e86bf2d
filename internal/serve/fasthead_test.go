package serve

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

// FuzzFastRequest holds that what is answered without net/http is what net/http would have seen, to the byte.
func FuzzFastRequest(f *testing.F) {
	for _, text := range []string{
		"POST /calls HTTP/1.1\r\nHost: localhost:5050\r\nContent-Type: application/json\r\nAccept: */*\r\nMesos-Stream-Id: a-b\r\nContent-Length: 3\r\n\r\n{ }POST",
		"POST /calls HTTP/1.1\r\nhost:[::1]\r\ncontent-length:0\r\nConnection: keep-alive\r\nUser-Agent:\r\nAccept-Encoding:\t gzip \r\n\r\n",
		"POST /calls HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1",
		"POST /calls HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1",
		"POST /calls HTTP/1.1\r\nHost: a\nContent-Length: 1\r\n\r\n1",
	} {
		f.Add([]byte(text))
	}
	line := []byte("POST /calls HTTP/1.1\r\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		var r FastRequest
		if len(b) == 0 {
			return
		}
		v, size := r.parse(b, line)
		if v == part && size > 0 && size <= len(b) || v == whole && size > len(b) {
			t.Fatalf("%d of %d bytes: %v", size, len(b), v)
		}
		if v != whole {
			return
		}
		in := bufio.NewReader(bytes.NewReader(b))
		want, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", b[:size], err)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if want.Method != http.MethodPost || want.RequestURI != "/calls" || want.Proto != "HTTP/1.1" || want.Close || want.TransferEncoding != nil ||
			want.Host != string(r.Host) || want.Header.Get("Content-Type") != string(r.ContentType) ||
			want.Header.Get("Mesos-Stream-Id") != string(r.StreamID) || !bytes.Equal(body, r.Body) || !bytes.Equal(rest, b[size:]) {
			t.Fatalf("%q: host %q, type %q, stream %q, body %q; net/http: %+v, body %q, rest %q", b, r.Host, r.ContentType, r.StreamID, r.Body, want, body, rest)
		}
	})
}
