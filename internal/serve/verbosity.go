package serve

import (
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/fault"
)

// Verbosity answers /logging/toggle: without parameters with how much more than usual is logged now, 0 for nothing; with
// level and duration it logs that much more for so long. From 1 on everything is logged.
type Verbosity struct {
	// Level is what the log's handler looks at; nil when nothing can be changed.
	Level *slog.LevelVar
	// Duration reads words such as "10mins".
	Duration func(string) (time.Duration, error)

	mu    sync.Mutex
	usual slog.Level  // while raised
	back  *time.Timer // to the usual level; nil while not raised
}

// ServeHTTP answers. Only root may change the level, and only with POST: a link on a web page must not.
func (v *Verbosity) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	level, duration := r.FormValue("level"), r.FormValue("duration")
	if level == "" && duration == "" {
		v.show(w)
		return
	}
	if !Post(w, r) {
		return
	}
	n, err := strconv.Atoi(level)
	if err != nil || n < 0 {
		Fail(w, http.StatusBadRequest, "level must be a whole number of at least 0; it is "+strconv.Quote(clip(level))+".")
		return
	}
	d, err := v.Duration(duration)
	if err != nil || d <= 0 {
		Fail(w, http.StatusBadRequest, "duration must be a time such as 10mins; it is "+strconv.Quote(clip(duration))+".")
		return
	}
	v.change(w, r, n, d)
}

// ServeCall answers SET_LOGGING_LEVEL of the operator APIs. It is authorised as ServeHTTP is.
func (v *Verbosity) ServeCall(w http.ResponseWriter, r *http.Request, level uint32, d time.Duration) {
	if d <= 0 {
		Fail(w, http.StatusBadRequest, "set_logging_level.duration must be more than 0 nanoseconds; after it the usual is logged again.")
		return
	}
	v.change(w, r, int(min(level, 1)), d) // from 1 on all are alike
}

func (v *Verbosity) change(w http.ResponseWriter, r *http.Request, n int, d time.Duration) {
	if !Who(r).Root {
		Fail(w, http.StatusForbidden, "Only root may change what is logged; --trust-loopback lifts that.")
		return
	}
	if err := v.raise(n, d); err != nil {
		FailWith(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (v *Verbosity) show(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, strconv.Itoa(v.Raised())+"\n") // a client that is gone needs no words
}

// Raised is how much more than usual is logged now: 0 or 1.
func (v *Verbosity) Raised() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.back != nil && v.Level.Level() != v.usual {
		return 1
	}
	return 0
}

// raise logs n more than usual for d; with 0 it goes back to the usual at once. It fails where nothing can be changed.
func (v *Verbosity) raise(n int, d time.Duration) error {
	if v.Level == nil {
		return fault.New(fault.Conflict, "the level of this log cannot be changed while it runs")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.back != nil {
		v.back.Stop()
		v.back = nil
		v.Level.Set(v.usual)
	}
	if n == 0 {
		return nil
	}
	v.usual = v.Level.Level()
	v.Level.Set(min(v.usual, slog.LevelDebug))
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.back == t { // not one that was replaced as it fired
			v.back = nil
			v.Level.Set(v.usual)
		}
	})
	v.back = t
	return nil
}
