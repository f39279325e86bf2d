package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
)

// Two ordinary users that every Debian has.
const (
	daemon = 1
	nobody = 65534
)

func withUser(t *mesosv1.TaskInfo, user string) *mesosv1.TaskInfo {
	t.Command.User = &user
	return t
}

func TestAnOrdinaryUserRunsTasksAsHimselfOnly(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()

	for _, user := range []string{"root", "nobody", "0", ""} {
		f := connect(t, n.master, ofUser(user), fromUID(daemon))
		<-f.done
		var refused *client.RemovedError
		if !errors.As(f.err, &refused) || !strings.Contains(refused.Message, "framework_info.user") {
			t.Errorf("a framework of user %q from daemon's process: %v", user, f.err)
		}
	}
	f := subscribe(t, n.master, ofUser("daemon"), fromUID(daemon))
	f.launch(task("as-daemon", "exec sleep 600"))
	p := processesOf(t)["as-daemon"]
	if st, err := os.Stat(fmt.Sprintf("/proc/%d", p[0].pid)); err != nil || !strings.Contains(fmt.Sprintf("%+v", st.Sys()), "Uid:1 Gid:1") {
		t.Errorf("the task's process: %v, %+v", err, st.Sys())
	}
	for _, user := range []string{"root", "nobody", "0", "65534"} {
		x := withUser(task("as-"+user, "id -u"), user)
		must(t, f.accept(x))
		s := f.end("as-" + user)
		if s.GetState() != mesosv1.TaskState_TASK_ERROR || s.GetReason() != mesosv1.TaskStatus_REASON_TASK_UNAUTHORIZED || !strings.Contains(s.GetMessage(), `"daemon"`) {
			t.Errorf("a task of user %q: %s", user, s)
		}
	}
	// A second user in the same ACCEPT spoils nobody else's task.
	must(t, f.accept(withUser(task("bad", "id -u"), "root"), task("good", "test $(id -u) = 1")))
	f.end("bad")
	f.oneEnd("bad", mesosv1.TaskState_TASK_ERROR)
	f.end("good")
	f.oneEnd("good", finished)

	as := *n
	as.user = "daemon"
	must(t, os.Chmod(n.dir, 0o777)) // for the note of daemon's commands
	cmd := as.pando("run", "--master", n.master, "--", "sh", "-c", "echo I am $(id -un)")
	if code, said := outcome(t, cmd); code != 0 || !strings.Contains(said, "I am daemon") {
		t.Errorf("daemon's pando run: %d %s", code, said)
	}
	if code, said := outcome(t, as.pando("run", "--master", n.master, "--user", "root", "--", "id", "-u")); code == 0 || !strings.Contains(said, "himself only") {
		t.Errorf("daemon's pando run --user root: %d %s", code, said)
	}
	if code, said := outcome(t, as.pando("down", "--data-dir", n.data())); code == 0 {
		t.Errorf("daemon stopped root's node: %s", said)
	}
}

func TestAnOrdinaryUserSeesAndEndsHisOwnOnly(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	root := subscribe(t, n.master)
	root.launch(task("secret-root", "echo secret > file; exec sleep 600"))
	other := subscribe(t, n.master, ofUser("daemon"), fromUID(daemon))
	other.launch(task("secret-daemon", "echo secret > file; exec sleep 600"))
	own := subscribe(t, n.master, ofUser("nobody"), fromUID(nobody))
	own.launch(task("mine", "echo mine > file; exec sleep 600"))
	own.launch(task("mine-ended", "echo mine > file"))
	own.end("mine-ended")

	hc := httpAs(nobody)
	master, agent := "http://"+n.master, "http://"+n.agent
	all := &http.Client{}
	for _, u := range []string{
		master + "/state", master + "/tasks", master + "/frameworks", master + "/state-summary", master + "/master/state.json",
		agent + "/state", agent + "/containers", agent + "/monitor/statistics",
		master + "/frameworks?framework_id=" + root.s.FrameworkID(), master + "/tasks?framework_id=" + root.s.FrameworkID(),
		agent + "/containers?framework_id=" + root.s.FrameworkID(),
	} {
		got := ask(t, hc, http.MethodGet, u, "")
		if got.status != http.StatusOK {
			t.Errorf("%s: %d %s", u, got.status, got.body)
		}
		for _, secret := range []string{"secret-root", "secret-daemon", root.s.FrameworkID(), other.s.FrameworkID()} {
			if strings.Contains(got.body, secret) {
				t.Errorf("%s shows %s to nobody: %s", u, secret, got.body)
			}
		}
		if !strings.Contains(u, "framework_id") && !strings.Contains(got.body, own.s.FrameworkID()) {
			t.Errorf("%s does not show nobody his own framework: %s", u, got.body)
		}
		if !strings.Contains(u, "framework_id") && !strings.Contains(ask(t, all, http.MethodGet, u, "").body, root.s.FrameworkID()) {
			t.Errorf("%s does not show root its own framework", u)
		}
	}
	for _, x := range []struct {
		f  *framework
		id string
	}{{root, "secret-root"}, {other, "secret-daemon"}} {
		q := url.Values{"framework_id": {x.f.s.FrameworkID()}, "task_id": {x.id}}
		if got := ask(t, hc, http.MethodGet, master+"/pando/v1/task?"+q.Encode(), ""); got.status != http.StatusNotFound {
			t.Errorf("/pando/v1/task of %s: %d %s", x.id, got.status, got.body)
		}
		sandbox := "/frameworks/" + x.f.s.FrameworkID() + "/executors/" + x.id + "/runs/latest"
		var places []string
		for _, pattern := range []string{"/agent/slaves/*" + sandbox} {
			found, err := filepath.Glob(n.data() + pattern)
			must(t, err)
			places = append(places, found...)
		}
		if len(places) != 1 {
			t.Fatalf("the sandbox of %s is at %v", x.id, places)
		}
		to, err := filepath.EvalSymlinks(places[0])
		must(t, err)
		for _, p := range []string{sandbox, places[0], to} {
			for _, what := range []string{"browse?path=" + p, "read?path=" + p + "/file", "download?path=" + p + "/file"} {
				if got := ask(t, hc, http.MethodGet, agent+"/files/"+what, ""); got.status != http.StatusForbidden && got.status != http.StatusNotFound || strings.Contains(got.body, "secret\n") {
					t.Errorf("/files/%s: %d %s", what, got.status, got.body)
				}
			}
		}
		body := fmt.Sprintf(`{"framework_id":%q,"task_id":%q}`, x.f.s.FrameworkID(), x.id)
		if got := ask(t, hc, http.MethodPost, master+"/pando/v1/kill", body, "Content-Type", "application/json"); got.status != http.StatusForbidden {
			t.Errorf("killing %s: %d %s", x.id, got.status, got.body)
		}
		if got := ask(t, hc, http.MethodPost, master+"/teardown", "frameworkId="+x.f.s.FrameworkID(), "Content-Type", "application/x-www-form-urlencoded"); got.status != http.StatusForbidden {
			t.Errorf("tearing down the framework of %s: %d %s", x.id, got.status, got.body)
		}
		thief := connect(t, n.master, ofUser("nobody"), fromUID(nobody), func(o *client.SchedulerOptions) {
			o.Framework.Id = &mesosv1.FrameworkID{Value: new(x.f.s.FrameworkID())}
		})
		<-thief.done
		if !errors.As(thief.err, new(*client.RemovedError)) {
			t.Errorf("taking over the framework of %s: %v", x.id, thief.err)
		}
	}
	if got := ask(t, hc, http.MethodGet, agent+"/files/debug", ""); got.status != http.StatusForbidden {
		t.Errorf("/files/debug: %d %s", got.status, got.body)
	}
	if got := ask(t, hc, http.MethodPost, master+"/logging/toggle?level=1&duration=10mins", ""); got.status != http.StatusForbidden {
		t.Errorf("/logging/toggle: %d %s", got.status, got.body)
	}
	if got := ask(t, hc, http.MethodGet, agent+"/files/read?path=/frameworks/"+own.s.FrameworkID()+"/executors/mine/runs/latest/file&offset=0", ""); !strings.Contains(got.body, `mine\n`) {
		t.Errorf("nobody's own file: %d %s", got.status, got.body)
	}

	for _, f := range []*framework{root, other, own} {
		if f.subscriptions() != 1 {
			t.Error("a stream was disturbed")
		}
	}
	if now := processesOf(t); len(now["secret-root"]) != 1 || len(now["secret-daemon"]) != 1 {
		t.Errorf("a task of another user was ended: %v", now)
	}
	body := fmt.Sprintf(`{"framework_id":%q,"task_id":"mine"}`, own.s.FrameworkID())
	if got := ask(t, hc, http.MethodPost, master+"/pando/v1/kill", body, "Content-Type", "application/json"); got.status != http.StatusAccepted {
		t.Errorf("killing his own: %d %s", got.status, got.body)
	}
	own.end("mine")
	own.oneEnd("mine", killed)
}

func TestAStolenStreamIDIsOfNoUse(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	root := &http.Client{}
	s := open(t, root, n.master, `{"user":"root","name":"robbed","roles":["test"],"capabilities":[{"type":"MULTI_ROLE"}]}`)
	offer := field(s.event("OFFERS"), "offers", "offers", "id", "value")
	for _, uid := range []int{daemon, nobody} {
		for _, rest := range []string{
			`"type":"TEARDOWN"`,
			`"type":"KILL","kill":{"task_id":{"value":"x"}}`,
			`"type":"DECLINE","decline":{"offer_ids":[{"value":"` + offer + `"}]}`,
			`"type":"ACCEPT","accept":{"offer_ids":[{"value":"` + offer + `"}],"operations":[]}`,
			`"type":"SUPPRESS"`, `"type":"REVIVE"`, `"type":"RECONCILE","reconcile":{"tasks":[]}`,
			`"type":"UPDATE_FRAMEWORK","update_framework":{"framework_info":{"id":{"value":"` + s.framework + `"},"user":"root","name":"stolen","roles":["test"]}}`,
		} {
			if got := call(t, httpAs(uid), n.master, s.framework, s.id, rest); got.status != http.StatusForbidden {
				t.Errorf("%s of uid %d with root's stream id: %d %s", rest, uid, got.status, got.body)
			}
		}
	}
	if got := call(t, root, n.master, s.framework, s.id, `"type":"DECLINE","decline":{"offer_ids":[{"value":"`+offer+`"}]}`); got.status != http.StatusAccepted {
		t.Errorf("root's own call: %d %s", got.status, got.body)
	}
	s.event("OFFERS") // the offer was declined only now, and comes again
}

func TestAnOrdinaryUsersAgentCannotJoinUnlessLoopbackIsTrusted(t *testing.T) {
	need(t, true)
	join := []string{"Connection", "Upgrade", "Upgrade", "pando-agent"}
	n := newNode(t, "up")
	n.start()
	if got := ask(t, httpAs(nobody), http.MethodGet, "http://"+n.master+"/pando/v1/agent", "", join...); got.status != http.StatusForbidden || !strings.Contains(got.body, "--trust-loopback") {
		t.Errorf("%d %s", got.status, got.body)
	}

	trusting := newNode(t, "up", "--trust-loopback")
	trusting.start()
	if got := ask(t, httpAs(nobody), http.MethodGet, "http://"+trusting.master+"/pando/v1/agent", "", join...); got.status != http.StatusSwitchingProtocols {
		t.Errorf("with --trust-loopback: %d %s", got.status, got.body)
	}
	root := subscribe(t, trusting.master)
	root.launch(task("trusting-root", "exec sleep 600"))
	f := subscribe(t, trusting.master, ofUser("root"), fromUID(nobody))
	f.launch(task("trusted", "exec sleep 600"))
	body := fmt.Sprintf(`{"framework_id":%q,"task_id":"trusting-root"}`, root.s.FrameworkID())
	if got := ask(t, httpAs(daemon), http.MethodPost, "http://"+trusting.master+"/pando/v1/kill", body, "Content-Type", "application/json"); got.status != http.StatusAccepted {
		t.Errorf("with --trust-loopback: %d %s", got.status, got.body)
	}
	root.end("trusting-root")
	root.oneEnd("trusting-root", killed)
	if got := ask(t, httpAs(daemon), http.MethodGet, "http://"+trusting.master+"/tasks", ""); !strings.Contains(got.body, "trusted") {
		t.Errorf("with --trust-loopback daemon sees %s", got.body)
	}
}

func TestWithoutSwitchingUsersNobodyElseRunsTasksAsTheAgentsUser(t *testing.T) {
	need(t, true)
	for name, c := range map[string]struct {
		user string // of the node
		args []string
		uid  int
		as   string
	}{
		"an agent of root that does not switch": {"", []string{"--switch-user=false"}, daemon, "daemon"},
		"an agent of an ordinary user":          {"nobody", nil, daemon, "daemon"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, "up", c.args...)
			if n.user = c.user; n.user != "" {
				must(t, os.Chown(n.dir, nobody, nobody))
			}
			n.start()
			f := subscribe(t, n.master, ofUser(c.as), fromUID(c.uid))
			id := "borrowed-" + c.user
			must(t, f.accept(task(id, "id -u > whoami; exec sleep 600")))
			s := f.await(id, running)
			if s.GetState() == running {
				t.Errorf("it runs, as %v", processesOf(t)[id])
				return
			}
			if !strings.Contains(s.GetMessage(), "switch") {
				t.Errorf("%s %s: %s", s.GetState(), s.GetReason(), s.GetMessage())
			}
		})
	}
}
