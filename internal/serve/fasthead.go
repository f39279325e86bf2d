package serve

import "bytes"

// FastRequest is a POST of the plainest form. Its bytes are lent: they are another request's as soon as Take has returned.
type FastRequest struct {
	Host, ContentType, StreamID, Body []byte

	peer *peer
}

// Who says who makes the request, as Who does.
func (r *FastRequest) Who() Subject { return r.peer.subject() }

// verdict is what the bytes at hand are.
type verdict int

const (
	whole  verdict = iota // a plain request
	part                  // the beginning of what may be one
	beside                // something for net/http
)

const (
	// fastHead bounds the head of a request that is answered without net/http, fastRequest all of it.
	fastHead    = 4 << 10
	fastRequest = 1 << 20
)

// parse reads one request from the beginning of b, and says how long it is; what it is not sure of goes beside. line is the
// request's first line with its end. size is how much of b is known to be needed when it is part of a request.
func (r *FastRequest) parse(b, line []byte) (v verdict, size int) {
	if n := min(len(b), len(line)); !bytes.Equal(b[:n], line[:n]) {
		return beside, 0
	}
	end := bytes.Index(b[:min(len(b), fastHead)], []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) >= fastHead {
			return beside, 0
		}
		return part, 0
	}
	*r = FastRequest{peer: r.peer}
	length := -1
	var seen [9]bool
	for rest := b[len(line) : end+2]; len(rest) > 0; {
		var field []byte
		field, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(field, []byte(":"))
		if !ok {
			return beside, 0
		}
		value = bytes.Trim(value, " \t")
		h := headerOf(name)
		if seen[h] || !plain(value) {
			return beside, 0
		}
		seen[h] = true
		switch h {
		case unknownHeader:
			return beside, 0
		case hostHeader:
			if !hostLike(value) {
				return beside, 0
			}
			r.Host = value
		case typeHeader:
			r.ContentType = value
		case streamHeader:
			r.StreamID = value
		case lengthHeader:
			if length = number(value); length < 0 {
				return beside, 0
			}
		case connectionHeader:
			if !bytes.EqualFold(value, []byte("keep-alive")) {
				return beside, 0
			}
		}
	}
	size = end + 4 + length
	if r.Host == nil || length < 0 || size > fastRequest {
		return beside, 0
	}
	if len(b) < size {
		return part, size
	}
	r.Body = b[end+4 : size]
	return whole, size
}

// header is a kind of header line that a plain request may have.
type header int

const (
	unknownHeader header = iota
	hostHeader
	typeHeader
	lengthHeader
	streamHeader
	connectionHeader
	acceptHeader // like the next two, it has no say in an answer without words
	encodingHeader
	agentHeader
)

func headerOf(name []byte) header {
	is := func(s string) bool { return len(name) == len(s) && bytes.EqualFold(name, []byte(s)) }
	switch {
	case is("host"):
		return hostHeader
	case is("content-type"):
		return typeHeader
	case is("content-length"):
		return lengthHeader
	case is("mesos-stream-id"):
		return streamHeader
	case is("connection"):
		return connectionHeader
	case is("accept"):
		return acceptHeader
	case is("accept-encoding"):
		return encodingHeader
	case is("user-agent"):
		return agentHeader
	}
	return unknownHeader
}

// plain says whether a header's value has nothing in it that net/http would look at twice.
func plain(value []byte) bool {
	for _, c := range value {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// hostLike says whether a Host header can be a name or an address with a port.
func hostLike(value []byte) bool {
	for _, c := range value {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !bytes.ContainsRune([]byte("-._:[]"), rune(c)) {
			return false
		}
	}
	return len(value) > 0
}

// number reads up to seven digits; -1 for anything else.
func number(b []byte) int {
	if len(b) == 0 || len(b) > 7 {
		return -1
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}
