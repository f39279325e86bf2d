package serve

import (
	"net/http"
	"strings"
	"time"
)

// TypeRecordIO is the media type of a stream of records, whose own encoding Message-Content-Type or Message-Accept names.
const TypeRecordIO = "application/recordio"

// RecordsBody says whether a call comes as a stream of records, and in which encoding. When it is not ok the request has been
// answered.
func RecordsBody(w http.ResponseWriter, r *http.Request) (stream, json, ok bool) {
	kind := r.Header.Get("Message-Content-Type")
	if r.Header.Get("Content-Type") != TypeRecordIO {
		if kind != "" {
			Fail(w, http.StatusUnsupportedMediaType, "Message-Content-Type goes with Content-Type "+TypeRecordIO+"; leave it out.")
			return false, false, false
		}
		return false, false, true
	}
	switch kind {
	case TypeJSON:
		return true, true, true
	case TypeProtobuf:
		return true, false, true
	case "":
		Fail(w, http.StatusBadRequest, "Message-Content-Type is missing; set it to "+TypeJSON+" or "+TypeProtobuf+".")
	default:
		Fail(w, http.StatusUnsupportedMediaType, "Message-Content-Type must be exactly "+TypeJSON+" or "+TypeProtobuf+".")
	}
	return false, false, false
}

// Media is how an answer is to be.
type Media struct {
	// Records wants a stream of records, in the encoding that JSON says.
	Records, JSON bool
}

// AnswerMedia finds what the client of a v1 call takes. When it is not ok the request has been answered.
func AnswerMedia(w http.ResponseWriter, r *http.Request) (m Media, ok bool) {
	inner := r.Header.Values("Message-Accept")
	if json, ok := Accepts(r); ok {
		if len(inner) > 0 {
			Fail(w, http.StatusNotAcceptable, "Message-Accept goes with Accept "+TypeRecordIO+"; leave it out.")
			return m, false
		}
		return Media{JSON: json}, true
	}
	if !lists(r.Header.Values("Accept"), TypeRecordIO) {
		Fail(w, http.StatusNotAcceptable, "Accept must allow "+TypeJSON+", "+TypeProtobuf+" or, for streams, "+TypeRecordIO+".")
		return m, false
	}
	m.Records = true
	switch {
	case len(inner) == 0, lists(inner, TypeJSON), lists(inner, "*/*"), lists(inner, "application/*"):
		m.JSON = true
	case !lists(inner, TypeProtobuf):
		Fail(w, http.StatusNotAcceptable, "Message-Accept must allow "+TypeJSON+" or "+TypeProtobuf+".")
		return m, false
	}
	return m, true
}

// lists says whether a header names a media type.
func lists(values []string, media string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if name, _, _ := strings.Cut(part, ";"); strings.TrimSpace(name) == media {
				return true
			}
		}
	}
	return false
}

// Head is how a stream's answer begins.
func (m Media) Head(now time.Time) StreamHead {
	if m.Records {
		return StreamHead{ContentType: TypeRecordIO, MessageType: ContentType(m.JSON), Now: now}
	}
	return StreamHead{ContentType: ContentType(m.JSON), Now: now}
}

// Unhurried lets the client of a request take the time that it likes to send its body: it sends when there is something to.
func Unhurried(w http.ResponseWriter, r *http.Request) {
	if b, ok := r.Body.(*body); ok {
		b.patient = true
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // of a connection that is broken the next read tells
}
