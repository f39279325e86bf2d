package sandbox

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// Handler answers browse, read, download and debug, the last element of the request's path. allow is asked before
// anything is shown, with the attached path that the asked one is at or below ("" for debug); nil allows all.
func (f *Files) Handler(allow func(r *http.Request, attached string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		p := q.Get("path")
		what := strings.TrimSuffix(path.Base(r.URL.Path), ".json") // as clients from before 1.0 ask
		if allow != nil {
			attached := ""
			if what != "debug" {
				attached = f.Attached(p)
			}
			// What is not attached is told as missing, to anybody.
			if (attached != "" || what == "debug") && !allow(r, attached) {
				refuse(w, &Error{http.StatusForbidden, "not allowed to see these files"})
				return
			}
		}
		switch what {
		case "browse":
			list, err := f.Browse(p)
			if err != nil {
				refuse(w, err)
				return
			}
			b, err := json.Marshal(list)
			answer(w, q.Get("jsonp"), b, err)
		case "read":
			offset, err1 := number(q.Get("offset"), "offset")
			length, err2 := number(q.Get("length"), "length")
			if err1 != nil || err2 != nil {
				refuse(w, first(err1, err2))
				return
			}
			data, at, err := f.Read(p, offset, length)
			if err != nil {
				refuse(w, err)
				return
			}
			b := appendString([]byte(`{"data":`), data)
			b = append(b, `,"offset":`...)
			b = append(strconv.AppendInt(b, at, 10), '}')
			answer(w, q.Get("jsonp"), b, nil)
		case "download":
			f.download(w, r, p)
		case "debug":
			b, err := json.Marshal(f.Debug())
			answer(w, q.Get("jsonp"), b, err)
		default:
			refuse(w, notFound(r.URL.Path))
		}
	})
}

func (f *Files) download(w http.ResponseWriter, r *http.Request, p string) {
	file, st, err := f.Open(p)
	if err != nil {
		refuse(w, err)
		return
	}
	defer file.Close()
	name := path.Base(clean(p))
	typ, _, _ := strings.Cut(mime.TypeByExtension(path.Ext(name)), ";")
	if typ == "" {
		typ = "application/octet-stream"
	}
	h := w.Header()
	h.Set("Content-Type", typ)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	http.ServeContent(w, r, "", st.ModTime(), file)
}

// number reads a query parameter; a missing one is -1.
func number(s, name string) (int64, *Error) {
	if s == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, &Error{http.StatusBadRequest, "failed to parse " + name + ": it must be a whole number"}
	}
	return n, nil
}

func first(errs ...*Error) *Error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

// refuse answers with the error's status. A missing file has no body, as clients of the original know it.
func refuse(w http.ResponseWriter, err error) {
	e := &Error{}
	ok := errors.As(err, &e)
	if !ok {
		e = &Error{http.StatusInternalServerError, err.Error()}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(e.Status)
	if e.Status != http.StatusNotFound {
		_, _ = w.Write([]byte(e.Message)) // a client that is gone needs no words
	}
}

func answer(w http.ResponseWriter, callback string, body []byte, err error) {
	if err != nil {
		refuse(w, err)
		return
	}
	if isName(callback) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		body = append(append([]byte(callback+"("), body...), ");"...)
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // as above
}

// isName says whether a JSONP callback is the name of a function and nothing more.
func isName(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && c != '$' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// appendString writes bytes as a JSON string and leaves those beyond ASCII as they are, valid UTF-8 or not: clients count
// them to know the next offset.
func appendString(b, data []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range data {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < 0x20 || c == 0x7f || c == '<' || c == '>' || c == '&': // the last three for pages that embed it
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
