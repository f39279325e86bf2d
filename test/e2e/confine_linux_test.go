package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/gen/mesosv1"
)

// dockered gives a task an image by Docker's type, with options of docker run.
func dockered(x *mesosv1.TaskInfo, image string, parameters ...string) *mesosv1.TaskInfo {
	x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{Image: &image}}
	for _, p := range parameters {
		key, value, _ := strings.Cut(p, " ")
		x.Container.Docker.Parameters = append(x.Container.Docker.Parameters, &mesosv1.Parameter{Key: &key, Value: &value})
	}
	return x
}

func profile(name string) *mesosv1.LinuxInfo {
	return &mesosv1.LinuxInfo{Seccomp: &mesosv1.SeccompInfo{ProfileName: &name}}
}

// saying runs a task that is to end well and gives what it said.
func (n *node) saying(f *framework, x *mesosv1.TaskInfo) string {
	n.t.Helper()
	id := x.GetTaskId().GetValue()
	must(n.t, f.accept(x))
	if e := f.end(id); e.GetState() != finished {
		n.t.Errorf("%s ended as %v", id, e)
	}
	b, err := os.ReadFile(filepath.Join(sandboxOf(n.t, n, f, id), "stdout"))
	must(n.t, err)
	return string(b)
}

// refuses runs a task whose launch is to fail with some words.
func (f *framework) refuses(x *mesosv1.TaskInfo, words ...string) {
	f.t.Helper()
	id := x.GetTaskId().GetValue()
	must(f.t, f.accept(x))
	e := f.end(id)
	if e.GetState() != failed || e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED {
		f.t.Errorf("%s ended as %v", id, e)
	}
	for _, w := range words {
		if !strings.Contains(e.GetMessage(), w) {
			f.t.Errorf("%s: %q lacks %q", id, e.GetMessage(), w)
		}
	}
}

func TestASeccompProfileIsKeptByItsName(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	dir := fresh()
	must(t, os.Mkdir(dir, 0o700))
	deny := func(name string, calls ...string) {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["`+strings.Join(calls, `", "`)+`"], "action": "SCMP_ACT_ERRNO"}]}`), 0o600))
	}
	deny("no-mkdir.json", "mkdir", "mkdirat")
	n := newNode(t, "up", "--plain-registries", s.host, "--seccomp-config-dir", dir, "--seccomp-profile-name", "no-mkdir.json")
	n.start()
	deny("no-link.json", "symlink", "symlinkat") // it came after the agent
	must(t, os.WriteFile(filepath.Join(dir, "broken.json"), []byte("{}"), 0o600))
	f, theirs := subscribe(t, n.master), subscribe(t, n.master, ofUser("nobody"))
	const tries = "cd $MESOS_SANDBOX; mkdir x 2>&1 && echo made; /bin/busybox ln -s x y 2>&1 && echo linked; grep -E 'Seccomp:|NoNewPrivs' /proc/self/status; true"
	const mkdir, link = "mkdir: can't create directory 'x': Operation not permitted\n", "ln: y: Operation not permitted\n"
	for id, c := range map[string]struct {
		f    *framework
		task *mesosv1.TaskInfo
		want string
	}{
		"default":           {f, inImage(task("default", tries), image), mkdir + "linked\nNoNewPrivs:\t0\nSeccomp:\t2\n"},
		"named":             {f, linux(inImage(task("named", tries), image), profile("no-link.json")), "made\n" + link + "NoNewPrivs:\t0\nSeccomp:\t2\n"},
		"unconfined":        {f, linux(inImage(task("unconfined", tries), image), &mesosv1.LinuxInfo{Seccomp: &mesosv1.SeccompInfo{Unconfined: new(true)}}), "made\nlinked\nNoNewPrivs:\t0\nSeccomp:\t0\n"},
		"docker":            {f, dockered(task("docker", tries), image, "security-opt seccomp=no-link.json"), "made\n" + link + "NoNewPrivs:\t0\nSeccomp:\t2\n"},
		"privileged":        {f, dockered(task("privileged", tries), image, "privileged true"), "made\nlinked\nNoNewPrivs:\t0\nSeccomp:\t0\n"},
		"without-image":     {f, task("without-image", tries), "made\nlinked\nNoNewPrivs:\t0\nSeccomp:\t0\n"},
		"bare":              {f, linux(task("bare", tries), profile("no-link.json")), "made\n" + link + "NoNewPrivs:\t0\nSeccomp:\t2\n"},
		"of-a-user":         {theirs, linux(inImage(task("of-a-user", tries), image), profile("no-link.json")), "made\n" + link + "NoNewPrivs:\t1\nSeccomp:\t2\n"},
		"of-a-user-default": {theirs, inImage(task("of-a-user-default", tries), image), mkdir + "linked\nNoNewPrivs:\t1\nSeccomp:\t2\n"},
		"of-a-user-bare":    {theirs, linux(task("of-a-user-bare", tries), profile("no-link.json")), "made\n" + link + "NoNewPrivs:\t1\nSeccomp:\t2\n"},
	} {
		got := strings.ReplaceAll(n.saying(c.f, c.task), "mkdir: cannot create directory ‘x’", "mkdir: can't create directory 'x'") // the machine's own words
		if got != c.want {
			t.Errorf("%s said %q, want %q", id, got, c.want)
		}
	}
	f.refuses(linux(inImage(task("unknown", "true"), image), profile("none.json")), "container.linux_info.seccomp.profile_name", `"none.json"`, "--seccomp-config-dir")
	f.refuses(linux(inImage(task("broken", "true"), image), profile("broken.json")), "container.linux_info.seccomp.profile_name", `"broken.json"`, "defaultAction")
	f.refuses(linux(task("out", "true"), profile("../out.json")), `"../out.json"`, "without ..")
	f.launch(inImage(task("long", "exec sleep 1000"), image))
	top := f.await("long", running).GetContainerStatus().GetContainerId().GetValue()
	for _, c := range []struct{ kind, accept, inner, words string }{
		{"LAUNCH_CONTAINER", "application/json", `"container_id":{"value":"alone"},"container":{"type":"MESOS","linux_info":{"seccomp":{"profile_name":"none.json"}}}`, "container.linux_info.seccomp.profile_name"},
		{"LAUNCH_NESTED_CONTAINER_SESSION", "application/recordio", `"container_id":{"value":"x","parent":{"value":"` + top + `"}},"container":{"type":"MESOS","linux_info":{"seccomp":{"unconfined":true}}}`, "A session is confined as the container"},
	} {
		body := `{"type":"` + c.kind + `","` + strings.ToLower(c.kind) + `":{"command":{"value":"true"},` + c.inner + `}}`
		got := ask(t, http.DefaultClient, http.MethodPost, "http://"+n.agent+"/api/v1", body, "Content-Type", "application/json", "Accept", c.accept)
		if got.status != http.StatusBadRequest || !strings.Contains(got.body, c.words) {
			t.Errorf("%s: %d %s", c.kind, got.status, got.body)
		}
	}
	f.goodbye("long")
	must(t, os.Remove(filepath.Join(dir, "no-mkdir.json")))
	f.refuses(inImage(task("default-gone", "true"), image), "--seccomp-profile-name")
	noTaskProcesses(t)
}

func TestNoTaskPassesTheAgentsBoundOfCapabilities(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := newNode(t, "up", "--plain-registries", s.host, "--effective-capabilities", "KILL", "--bounding-capabilities", `{"capabilities": ["CHOWN", "KILL"]}`)
	n.start()
	f, theirs := subscribe(t, n.master), subscribe(t, n.master, ofUser("nobody"))
	some := func(c ...mesosv1.CapabilityInfo_Capability) *mesosv1.CapabilityInfo {
		return &mesosv1.CapabilityInfo{Capabilities: c}
	}
	chown := &mesosv1.LinuxInfo{EffectiveCapabilities: some(mesosv1.CapabilityInfo_CHOWN)}
	tooMuch := &mesosv1.LinuxInfo{EffectiveCapabilities: some(mesosv1.CapabilityInfo_CHOWN, mesosv1.CapabilityInfo_NET_RAW)}
	wide := &mesosv1.LinuxInfo{BoundingCapabilities: some(mesosv1.CapabilityInfo_SYS_ADMIN, mesosv1.CapabilityInfo_KILL)}
	const tells = "grep -E 'CapEff|CapBnd' /proc/self/status"
	caps := func(effective, bounding uint64) string {
		return fmt.Sprintf("CapEff:\t%016x\nCapBnd:\t%016x\n", effective, bounding)
	}
	const c, k = 1 << 0, 1 << 5
	for id, x := range map[string]struct {
		f    *framework
		task *mesosv1.TaskInfo
		want string
	}{
		"bare":      {f, task("bare", tells), caps(k, c|k)},
		"asks":      {f, linux(task("asks", tells), chown), caps(c, c|k)},
		"imaged":    {f, inImage(task("imaged", tells), image), caps(k, c|k)},
		"added":     {f, dockered(task("added", tells), image, "cap-add CHOWN", "cap-drop KILL"), caps(c, c|k)},
		"of-a-user": {theirs, task("of-a-user", tells), caps(k, c|k)}, // the operator's word, whoever's it is
	} {
		if got := n.saying(x.f, x.task); got != x.want {
			t.Errorf("%s said %q, want %q", id, got, x.want)
		}
	}
	const flag = "--bounding-capabilities"
	f.refuses(linux(task("bare-beyond", "true"), tooMuch), ": NET_RAW;", flag)
	f.refuses(linux(task("bare-bounding-beyond", "true"), wide), ": SYS_ADMIN;", flag)
	f.refuses(linux(inImage(task("imaged-beyond", "true"), image), tooMuch), ": NET_RAW;", flag)
	f.refuses(dockered(task("added-beyond", "true"), image, "cap-add NET_ADMIN"), "cap-add", ": NET_ADMIN;", flag)
	f.refuses(dockered(task("privileged", "true"), image, "privileged true"), "privileged", "SYS_ADMIN", flag)
	e := inExecutor(t, "in-executor", "json")
	e.Executor.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), LinuxInfo: tooMuch}
	must(t, f.accept(e))
	if s := f.end("in-executor"); s.GetState() != failed || !strings.Contains(s.GetMessage(), flag) {
		t.Errorf("a task of an executor beyond the bound ended as %v", s)
	}
	must(t, f.acceptGroup(linux(task("in-group", "true"), tooMuch)))
	if s := f.end("in-group"); s.GetState() != failed || !strings.Contains(s.GetMessage(), flag) {
		t.Errorf("a task of a group beyond the bound ended as %v", s)
	}
	const byCall = `{"type":"LAUNCH_CONTAINER","launch_container":{"container_id":{"value":"alone"},"command":{"value":"true"},
		"container":{"type":"MESOS","linux_info":{"effective_capabilities":{"capabilities":["NET_RAW"]}}}}}`
	got := ask(t, http.DefaultClient, http.MethodPost, "http://"+n.agent+"/api/v1", byCall, "Content-Type", "application/json")
	if got.status != http.StatusBadRequest || !strings.Contains(got.body, flag) {
		t.Errorf("a container by call: %d %s", got.status, got.body)
	}
	noTaskProcesses(t)
}

func TestSettingsThatConfineAreCheckedAtTheStart(t *testing.T) {
	need(t, true)
	for words, args := range map[string][]string{
		"--effective-capabilities: KILL":                {"--effective-capabilities", "KILL", "--bounding-capabilities", "CHOWN"},
		"--bounding-capabilities: the capability FLY":   {"--bounding-capabilities", "FLY"},
		"--allowed-devices: /dev/no-such":               {"--allowed-devices", "/dev/no-such"},
		"--seccomp-config-dir: /no/such":                {"--seccomp-config-dir", "/no/such"},
		"--seccomp-profile-name: \"a\"":                 {"--seccomp-profile-name", "a"},
		"--seccomp-profile-name: \"none\" cannot be":    {"--seccomp-profile-name", "none", "--seccomp-config-dir", "/"},
		"--effective-capabilities: \"{\\\"a\\\": []}\"": {"--effective-capabilities", `{"a": []}`},
	} {
		if code, said := outcome(t, newNode(t, "up", args...).command()); code == 0 || !strings.Contains(said, words) {
			t.Errorf("%v: %d %q lacks %q", args, code, said, words)
		}
	}
}

func TestATaskOfDockersTypeRunsAsItsImagesUser(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	accounts := layerOf(t, file{name: "etc/passwd", content: "web:x:4101:4102::/srv/web:/bin/sh\n", mode: 0o644}, file{name: "etc/group", content: "www:x:4102:\nextra:x:4103:web\n", mode: 0o644})
	// What its names lead to is the image's own, whatever links it makes.
	linked := layerOf(t, file{name: "etc/passwd", to: "../../../../../../../../etc/passwd", mode: 0o777}, file{name: "etc/group", to: "/etc/passwd", mode: 0o777})
	env := []string{"PATH=/bin"}
	image := s.push("app:1", v1.Config{Env: env, User: "web"}, accounts)
	odd := s.push("odd:1", v1.Config{Env: env, User: "daemon"}, linked)
	n := imageNode(t, s)
	f, theirs := subscribe(t, n.master), subscribe(t, n.master, ofUser("nobody"))
	const who = "id -u; id -g; grep Groups: /proc/self/status; echo $HOME; touch /mnt/mesos/sandbox/made || echo no sandbox; (echo x > /top) 2>/dev/null || echo kept out; grep CapEff /proc/self/status"
	says := func(uid, gid int, groups, home string) string {
		return fmt.Sprintf("%d\n%d\nGroups:\t%s \n%s\nkept out\nCapEff:\t0000000000000000\n", uid, gid, groups, home)
	}
	bind := func(x *mesosv1.TaskInfo) *mesosv1.TaskInfo {
		x.Container.Volumes = []*mesosv1.Volume{{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: new("/own"), HostPath: new("mine")}}
		x.Command.Value = new("touch /own/x && " + x.Command.GetValue())
		return x
	}
	for id, c := range map[string]struct {
		f    *framework
		task *mesosv1.TaskInfo
		want string
	}{
		"image":  {f, bind(dockered(task("image", who), image)), says(4101, 4102, "4102 4103", "/srv/web")},
		"user":   {f, dockered(task("user", who), image, "user 4200:4102"), says(4200, 4102, "4102", "/")},
		"task":   {f, dockered(withUser(task("task", "id -u"), "nobody"), image), "65534\n"},
		"root":   {f, dockered(withUser(task("root", "id -u"), "root"), image), "0\n"},
		"mesos":  {f, inImage(task("mesos", "id -u"), image), "0\n"},
		"theirs": {theirs, dockered(task("theirs", "id -u"), image), "65534\n"},
	} {
		if got := n.saying(c.f, c.task); got != c.want {
			t.Errorf("%s said %q, want %q", id, got, c.want)
		}
	}
	f.refuses(dockered(task("odd", "true"), odd), `"daemon"`)
	theirs.refuses(dockered(task("others", "true"), image, "user web"), "parameters user", "only frameworks of root")
	f.launch(dockered(task("long", "exec sleep 1000"), image))
	if code, said := outcome(t, n.pando("task", "exec", "long", "--", "id", "-u")); code != 0 || said != "4101\n" {
		t.Errorf("a command beside it: %d %q", code, said)
	}
	f.goodbye("long")
	noTaskProcesses(t)
}

func TestATaskWithAnImageHasTheDevicesThatItsAgentAllows(t *testing.T) {
	need(t, true)
	for _, device := range []string{"/dev/loop0", "/dev/net/tun"} {
		if _, err := os.Stat(device); err != nil {
			t.Skip("SKIP: ", err)
		}
	}
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := newNode(t, "up", "--plain-registries", s.host, "--allowed-devices", "/dev/loop0:r,/dev/net/tun,/dev/null")
	n.start()
	const looks = "stat -c '%n %F %t:%T %a' /dev/loop0 /dev/net/tun; for d in loop0 net/tun; do (: < /dev/$d) && echo opens; done 2>&1; (: > /dev/loop0) 2>/dev/null || echo sealed; ls /dev | sort; true"
	const nodes = "/dev/loop0 block special file 7:0 444\n/dev/net/tun character special file a:c8 666\nopens\nopens\n"
	const names = "fd\nfull\nloop0\nmqueue\nnet\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"
	if got := n.saying(subscribe(t, n.master), inImage(task("roots", looks), image)); got != nodes+names {
		t.Errorf("root's said %q", got)
	}
	if got := n.saying(subscribe(t, n.master, ofUser("nobody")), inImage(task("theirs", looks), image)); got != nodes+"sealed\n"+names {
		t.Errorf("another user's said %q", got)
	}
}
