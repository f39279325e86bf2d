package serve

import (
	"errors"
	"io"
	"net/http"
	"net/url"
)

// maxForm bounds a form.
const maxForm = 1 << 20

// Form reads the form in a request's body, whatever Content-Type says: the original does not look at it, and the DC/OS command
// line sends none. Where that fails it answers; of a form that is too large with what to do.
func Form(w http.ResponseWriter, r *http.Request, otherwise string) (form url.Values, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		Fail(w, http.StatusRequestEntityTooLarge, "The form is larger than 1 MiB; "+otherwise+".")
		return nil, false
	case err != nil:
		FailWith(w, err)
		return nil, false
	}
	form, _ = url.ParseQuery(string(body)) // what can be read; a field that is missing is reported as such
	return form, true
}
