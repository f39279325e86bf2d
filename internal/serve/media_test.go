package serve

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWhatAnAnswerIsToBe(t *testing.T) {
	for _, c := range []struct {
		name, accept, inner string
		want                Media
		code                int
	}{
		{"nothing is said", "", "", Media{JSON: true}, 200},
		{"JSON", TypeJSON, "", Media{JSON: true}, 200},
		{"protobuf", TypeProtobuf, "", Media{}, 200},
		{"a stream, whose records are JSON unless said", TypeRecordIO, "", Media{true, true}, 200},
		{"a stream of JSON", TypeRecordIO, TypeJSON, Media{true, true}, 200},
		{"a stream of protobuf", TypeRecordIO, TypeProtobuf, Media{Records: true}, 200},
		{"a stream of what there is not", TypeRecordIO, "text/html", Media{}, 406},
		{"JSON goes before a stream", TypeRecordIO + ", " + TypeJSON, "", Media{JSON: true}, 200},
		{"records where there are none", TypeJSON, TypeJSON, Media{}, 406},
		{"what there is not", "text/html", "", Media{}, 406},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil)
			if c.accept != "" {
				r.Header.Set("Accept", c.accept)
			}
			if c.inner != "" {
				r.Header.Set("Message-Accept", c.inner)
			}
			m, ok := AnswerMedia(w, r)
			if ok != (c.code == 200) || w.Code != c.code || ok && m != c.want {
				t.Errorf("%+v %v %d %s", m, ok, w.Code, w.Body)
			}
		})
	}
}

func TestHowRecordsCome(t *testing.T) {
	for _, c := range []struct {
		name, outer, inner string
		stream, json       bool
		code               int
	}{
		{"one message", TypeJSON, "", false, false, 200},
		{"one message that says it is records", TypeJSON, TypeJSON, false, false, 415},
		{"records of JSON", TypeRecordIO, TypeJSON, true, true, 200},
		{"records of protobuf", TypeRecordIO, TypeProtobuf, true, false, 200},
		{"records of who knows what", TypeRecordIO, "", false, false, 400},
		{"records of what there is not", TypeRecordIO, "text/html", false, false, 415},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Content-Type", c.outer)
			if c.inner != "" {
				r.Header.Set("Message-Content-Type", c.inner)
			}
			stream, json, ok := RecordsBody(w, r)
			if stream != c.stream || json != c.json || ok != (c.code == 200) || w.Code != c.code {
				t.Errorf("%v %v %v %d %s", stream, json, ok, w.Code, w.Body)
			}
		})
	}
}
