package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
)

// foreignPage are requests that a browser makes for a web page of somebody else, as headers.
var foreignPage = map[string][]string{
	"a name that points at loopback":  {"Host", "evil.example:5050"},
	"another origin":                  {"Origin", "http://evil.example"},
	"another port of this machine":    {"Origin", "http://127.0.0.1:3000"},
	"a page without an origin":        {"Origin", "null"},
	"an origin with TLS":              {"Origin", "https://evil.example"},
	"an origin that begins as ours":   {"Origin", "http://127.0.0.1:5050.evil.example"},
	"a script of another site":        {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"},
	"a script of another port":        {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors"},
	"an image":                        {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
	"a form that is sent by a script": {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Origin", "http://evil.example"},
	"a form without its origin":       {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
}

func TestAWebPageOfAnotherOriginGetsNothing(t *testing.T) {
	need(t, false)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	f.launch(task("watched", "exec sleep 600"))
	hc := &http.Client{}
	master, agent := "http://"+n.master, "http://"+n.agent

	paths := []string{
		"/", "/state", "/state?jsonp=steal", "/master/state.json?jsonp=steal", "/tasks?jsonp=steal", "/flags", "/version", "/health", "/metrics", "/metrics/snapshot",
		"/files/debug?jsonp=steal", "/files/read", "/redirect", "/nothing", "/api/v1/scheduler", "/pando/v1/kill", "/pando/v1/task", "/pando/v1/agent", "/teardown", "/logging/toggle",
	}
	kill := `{"framework_id":"` + f.s.FrameworkID() + `","task_id":"watched"}`
	bodies := map[string]string{ // what a form of a page can send without being asked
		"application/x-www-form-urlencoded": "frameworkId=" + f.s.FrameworkID() + "&level=1&duration=10mins",
		"text/plain":                        kill,
		"multipart/form-data; boundary=x":   "--x\r\nContent-Disposition: form-data; name=\"frameworkId\"\r\n\r\n" + f.s.FrameworkID() + "\r\n--x--\r\n",
		"application/json":                  kill,
	}
	for name, header := range foreignPage {
		t.Run(name, func(t *testing.T) {
			for _, server := range []string{master, agent} {
				for _, p := range paths {
					if name != "a form that is sent by a script" && name != "a form without its origin" { // going to a page by a link is no harm
						if got := ask(t, hc, http.MethodGet, server+p, "", header...); got.status != http.StatusForbidden || strings.Contains(got.body, "watched") {
							t.Errorf("GET %s: %d %s", p, got.status, got.body)
						}
					}
					for typ, body := range bodies {
						if got := ask(t, hc, http.MethodPost, server+p, body, append([]string{"Content-Type", typ}, header...)...); got.status != http.StatusForbidden {
							t.Errorf("POST %s of %s: %d %s", p, typ, got.status, got.body)
						}
					}
				}
			}
		})
	}
	// Its own pages, people and programs come through.
	for name, header := range map[string][]string{
		"a program":                  nil,
		"by the name of the machine": {"Host", "localhost:" + portOf(n.master)},
		"by IPv6":                    {"Host", "[::1]:" + portOf(n.master)},
		"its own page":               {"Origin", master, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"},
		"a bookmark":                 {"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"},
		"a link on another page":     {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
	} {
		if got := ask(t, hc, http.MethodGet, master+"/state", "", header...); got.status != http.StatusOK || !strings.Contains(got.body, "watched") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	// No answer may be taken for a page or a script of this origin, nor be shared with others.
	got := ask(t, hc, http.MethodGet, master+"/state", "")
	if got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("the answer is shared with %s", got.header.Get("Access-Control-Allow-Origin"))
	}
	if got := ask(t, hc, http.MethodGet, master+"/state?jsonp=alert(1)//", ""); got.status != http.StatusBadRequest {
		t.Errorf("a callback that is no name: %d %s", got.status, got.body)
	}
	if f.subscriptions() != 1 || len(processesOf(t)["watched"]) != 1 {
		t.Error("a page did something")
	}
	must(t, f.kill("watched"))
	if s := f.end("watched"); s.GetState() != mesosv1.TaskState_TASK_KILLED {
		t.Error(s)
	}
}
