package agent

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/loop"
)

func TestAnAgentHeedsTheSummonsOfALaterLeaderOnly(t *testing.T) {
	a := newTestAgent(t, clock.Real())
	a.cfg.Masters = []string{"first:1", "second:2"}
	h := a.Handler()
	summon := func(body string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/pando/v1/leader", strings.NewReader(body)))
		return w.Code
	}
	for _, body := range []string{"", "{}", `{"leader":"x:1"}`, `{"epoch":7}`} {
		if code := summon(body); code != http.StatusBadRequest {
			t.Errorf("%q is answered %d", body, code)
		}
	}
	in, out := net.Pipe()
	defer in.Close()
	a.link = &masterLink{agent: a, epoch: 7, out: loop.NewOutbox(out, func(dst []byte, _ []any) []byte { return dst }, loop.OutboxLimits{}, func(string) {})}
	if code := summon(`{"leader":"old:1","epoch":7}`); code != http.StatusOK || a.next(0) != "first:1" {
		t.Errorf("the leader of now summons, which is answered %d, and the agent leaves it", code)
	}
	if code := summon(`{"leader":"new:1","epoch":8}`); code != http.StatusOK {
		t.Errorf("a later leader's summons is answered %d", code)
	}
	if _, err := in.Read(make([]byte, 1)); err == nil {
		t.Error("the link to the old leader stands")
	}
	if first, then := a.next(1), a.next(1); first != "new:1" || then != "second:2" {
		t.Errorf("it tries %s, then %s", first, then)
	}
}
