package e2e

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/pando-os/pando/gen/mesosv1"
)

// engine is a Docker Engine of the test's own. It is in namespaces of its own, with what it mounts and all that it starts, and ends
// with the first process of them; that one ends when its input does, so also when the test is killed.
type engine struct {
	t        *testing.T
	dir, cli string
}

// engineMain is that first process. It hides /run from the engine, which looks there for a containerd of the machine's.
const engineMain = `mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs tmpfs /run || exit
d=$1 group=$2
dockerd -H unix://$d/socket --data-root $d/data --exec-root $d/exec --pidfile $d/pid --cgroup-parent /$group \
  --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --bridge=none >$d/log 2>&1 </dev/null &
read -r _`

func newEngine(t *testing.T) *engine {
	t.Helper()
	if _, err := exec.LookPath("dockerd"); err != nil {
		t.Skip("SKIP: there is no dockerd (Debian's docker.io) to compare with")
	}
	e := &engine{t: t, dir: fresh(), cli: "/usr/bin/docker"} // Debian's own, also where another comes first
	if _, err := os.Stat(e.cli); err != nil {
		if e.cli, err = exec.LookPath("docker"); err != nil {
			t.Skip("SKIP: there is no docker beside dockerd")
		}
	}
	must(t, os.Mkdir(e.dir, 0o711))
	group := fmt.Sprintf("pando-oracle-%d", os.Getpid())
	cmd := exec.Command("sh", "-c", engineMain, "sh", e.dir, group)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	hold, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }() // it is told to end, or ended
	t.Cleanup(func() {
		must(t, hold.Close())
		<-gone
		roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + group) // the pattern is good
		for _, root := range append(roots, "/sys/fs/cgroup/"+group) {
			removeGroups(t, root)
		}
		must(t, os.RemoveAll(e.dir)) // fails where something of it is mounted still
	})
	e.await(gone)
	return e
}

// await waits until the engine answers; without one there is nothing to compare with.
func (e *engine) await(gone <-chan struct{}) {
	e.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		code, said := e.docker("version")
		if code == 0 {
			return
		}
		ended := time.Now().After(deadline)
		select {
		case <-gone:
			ended = true
		default:
		}
		if ended {
			e.t.Skipf("SKIP: this machine's dockerd does not start: %s\n%s", said, record(filepath.Join(e.dir, "log")))
		}
	}
}

// docker asks the engine, and gives the exit code and what was printed.
func (e *engine) docker(args ...string) (int, string) {
	e.t.Helper()
	cmd := exec.Command(e.cli, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DOCKER_HOST=unix://" + e.dir + "/socket", "HOME=" + e.dir}
	return outcome(e.t, cmd)
}

// load gives the engine an image of the registry, in a file as docker save makes it, under the same name.
func (e *engine) load(image string) string {
	e.t.Helper()
	ref, err := name.NewTag(image, name.Insecure)
	must(e.t, err)
	im, err := remote.Image(ref)
	must(e.t, err)
	file := fresh()
	must(e.t, tarball.WriteToFile(file, ref, im))
	if code, said := e.docker("load", "--input", file); code != 0 {
		e.t.Fatalf("docker load: %d %s", code, said)
	}
	return image
}

// removeGroups removes a cgroup of processes that have ended, and those below it.
func removeGroups(t *testing.T, root string) {
	t.Helper()
	var all []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(all) {
		if err := removeSoon(dir); err != nil {
			t.Errorf("a cgroup of the engine stays: %v", err)
		}
	}
}

// twin is a container that the engine and a node are asked for in the same words.
type twin struct {
	image   string
	options []string // of docker run, as KEY VALUE; the parameters of the task
	shell   string   // a command for a shell, which the original handed to docker as the entrypoint; else argv is for the image
	argv    []string
	env     string // NAME=VALUE of the task's own, which the original handed over by --env
	// ours is what our task says where that is meant to differ, for the reason in why.
	ours, why string
	// all: Docker needs all capabilities for it, those of the machine's root.
	all bool
}

// theirs is the command line of docker.
func (r *twin) theirs() []string {
	args := []string{"run", "--network=host"}
	for _, o := range r.options {
		key, value, _ := strings.Cut(o, " ")
		args = append(args, "--"+key+"="+value)
	}
	if r.env != "" {
		args = append(args, "--env="+r.env)
	}
	if r.shell != "" {
		return append(args, "--entrypoint=/bin/sh", r.image, "-c", r.shell)
	}
	return append(append(args, r.image), r.argv...)
}

// task is the same for a scheduler.
func (r *twin) task(id string) *mesosv1.TaskInfo {
	x := dockered(task(id, r.shell), r.image, r.options...)
	if r.shell == "" {
		x.Command.Shell, x.Command.Value = new(false), nil
		if len(r.argv) > 0 {
			x.Command.Value, x.Command.Arguments = &r.argv[0], r.argv[1:]
		}
	}
	if name, value, ok := strings.Cut(r.env, "="); ok {
		x.Command.Environment.Variables = append(x.Command.Environment.Variables, &mesosv1.Environment_Variable{Name: &name, Value: &value})
	}
	return x
}

// refused is what both say in their own words when there is nothing to run.
const refused = "refused"

func (e *engine) prints(r *twin) string {
	e.t.Helper()
	args := r.theirs()
	code, said := e.docker(slices.Insert(args, 1, "--rm", "--log-driver=none")...)
	if code >= 125 {
		e.t.Logf("%v: %d %s", args, code, said)
		return refused
	}
	return known(said)
}

func (n *node) prints(f *framework, id string, r *twin) string {
	n.t.Helper()
	must(n.t, f.accept(r.task(id)))
	if s := f.end(id); s.GetState() != finished {
		n.t.Logf("%s: %s", id, s.GetMessage())
		return refused
	}
	b, err := os.ReadFile(filepath.Join(sandboxOf(n.t, n, f, id), "stdout"))
	must(n.t, err)
	return known(string(b))
}

// known leaves out the three latest capabilities, which Debian's Docker is too old for.
func known(said string) string {
	return capLine.ReplaceAllStringFunc(said, func(line string) string {
		name, hex, _ := strings.Cut(line, "\t")
		n, err := strconv.ParseUint(hex, 16, 64)
		if err != nil {
			return line
		}
		return fmt.Sprintf("%s\t%016x", name, n&(1<<38-1))
	})
}

var capLine = regexp.MustCompile(`Cap...:\t[0-9a-f]+`)

// rootHasAll tells whether the machine's root has all capabilities that Docker knows.
func rootHasAll(t *testing.T) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	must(t, err)
	return strings.Contains(known(string(b)), fmt.Sprintf("CapBnd:\t%016x", uint64(1<<38-1)))
}

// withoutOurs leaves out the variables that the original gives its tasks, and the test its own.
const withoutOurs = ` | grep -Ev '^(MESOS_|PANDO_E2E_|PWD=|SHLVL=)' | sort`

func TestATaskOfDockersTypeIsAsDockerRunsIt(t *testing.T) {
	need(t, true)
	s, e := newShelf(t), newEngine(t)
	accounts := layerOf(t,
		file{name: "etc/passwd", content: "root:x:0:0::/root:/bin/sh\nweb:x:4101:4102::/srv/web:/bin/sh\n", mode: 0o644},
		file{name: "etc/group", content: "root:x:0:\nwww:x:4102:\nextra:x:4103:web\n", mode: 0o644},
		file{name: "work/", mode: 0o755})
	push := func(tag string, c v1.Config) string { return e.load(s.push(tag, c, accounts)) }
	path := []string{"PATH=/bin"}
	plain := push("plain:1", v1.Config{Env: path})
	entry := push("entry:1", v1.Config{Env: path, Entrypoint: []string{"/bin/echo", "entry"}, Cmd: []string{"cmd", "more"}})
	cmdOnly := push("cmd:1", v1.Config{Env: path, Cmd: []string{"/bin/echo", "cmd"}})
	bare := push("bare:1", v1.Config{Cmd: []string{"/bin/env"}})
	here := push("here:1", v1.Config{Env: append(path, "FROM=image", "BOTH=image"), WorkingDir: "/work"})
	busybox, err := os.ReadFile("/bin/busybox")
	must(t, err)
	setuid := e.load(s.push("setuid:1", v1.Config{Env: path}, accounts, layerOf(t,
		file{name: "etc/passwd", content: "root::0:0::/root:/bin/sh\nweb::4101:4102::/tmp:/bin/sh\n", mode: 0o644},
		file{name: "bin/su", content: string(busybox), mode: 0o4755})))
	asUser := func(user string) string {
		return push("user-"+strings.NewReplacer(":", "-").Replace(cmp.Or(user, "none"))+":1", v1.Config{Env: path, User: user})
	}
	host := fresh()
	must(t, os.Mkdir(host, 0o777))
	must(t, os.WriteFile(filepath.Join(host, "seen"), []byte("the machine's\n"), 0o644))
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	all := rootHasAll(t)
	const who = `id -u; id -g; grep Groups: /proc/self/status; echo "$HOME"`
	const caps = `grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status`
	const rights = caps + `; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status`
	const mounted = `while read -r _ _ _ _ at opts rest; do case $at in /t) echo "$opts ${rest##* r[ow]}";; esac; done < /proc/self/mountinfo`
	for id, r := range map[string]*twin{
		"entry":                   {image: entry},
		"entry-args":              {image: entry, argv: []string{"a", "b  c"}},
		"entry-shell":             {image: entry, shell: "echo in a shell: $0"},
		"entry-other":             {image: entry, options: []string{"entrypoint /bin/pwd"}},
		"entry-other-args":        {image: entry, options: []string{"entrypoint /bin/echo"}, argv: []string{"x"}},
		"entry-none":              {image: entry, options: []string{"entrypoint "}, argv: []string{"/bin/echo", "x"}},
		"entry-none-nothing":      {image: entry, options: []string{"entrypoint "}},
		"cmd":                     {image: cmdOnly},
		"cmd-args":                {image: cmdOnly, argv: []string{"/bin/echo", "instead"}},
		"by-path":                 {image: plain, argv: []string{"echo", "found"}},
		"nothing":                 {image: plain},
		"not-there":               {image: plain, argv: []string{"/no/such"}},
		"env-bare":                {image: bare, shell: "/bin/env" + withoutOurs},
		"env":                     {image: here, shell: "env" + withoutOurs, options: []string{"env BOTH=option", "env EMPTY=", "env MORE=a=b c"}, env: "OWN=task"},
		"env-home":                {image: here, shell: "echo $HOME", options: []string{"env HOME=/elsewhere"}},
		"hostname-variable":       {image: here, shell: "/bin/env | grep HOSTNAME", options: []string{"hostname web"}},
		"workdir-none":            {image: plain, shell: "pwd"},
		"workdir-image":           {image: here, shell: "pwd"},
		"workdir-option":          {image: here, shell: "pwd", options: []string{"workdir /etc"}},
		"workdir-new":             {image: here, shell: "pwd; stat -c '%u %a' .", options: []string{"workdir /new/below"}},
		"workdir-new-user":        {image: here, shell: "pwd; stat -c '%u %a' .", options: []string{"workdir /new", "user web"}},
		"workdir-relative":        {image: here, shell: "pwd", options: []string{"workdir below"}},
		"user-none":               {image: asUser(""), shell: who},
		"user-name":               {image: asUser("web"), shell: who},
		"user-number":             {image: asUser("4101"), shell: who},
		"user-name-group":         {image: asUser("web:extra"), shell: who},
		"user-numbers":            {image: asUser("4101:4103"), shell: who},
		"user-no-entry":           {image: asUser("7"), shell: who},
		"user-no-entry-group":     {image: asUser("7:8"), shell: who},
		"user-unknown":            {image: asUser("nobody"), shell: who},
		"user-option":             {image: asUser("7"), shell: who, options: []string{"user web"}},
		"user-option-number":      {image: plain, shell: who, options: []string{"user 7:8"}},
		"user-option-unknown":     {image: plain, shell: who, options: []string{"user nobody"}},
		"user-option-root":        {image: asUser("web"), shell: who, options: []string{"user root"}},
		"rights":                  {image: plain, shell: rights},
		"rights-user":             {image: asUser("web"), shell: rights},
		"rights-user-added":       {image: asUser("web"), shell: rights, options: []string{"cap-add NET_ADMIN"}},
		"cap-add":                 {image: plain, shell: caps, options: []string{"cap-add NET_ADMIN", "cap-add cap_sys_ptrace"}},
		"cap-add-all":             {image: plain, shell: caps, options: []string{"cap-add ALL", "cap-drop NET_RAW"}, all: true},
		"cap-drop":                {image: plain, shell: caps, options: []string{"cap-drop NET_RAW", "cap-drop CHOWN"}},
		"cap-drop-all":            {image: plain, shell: caps, options: []string{"cap-drop ALL"}},
		"cap-drop-all-add":        {image: plain, shell: caps, options: []string{"cap-drop all", "cap-add CHOWN"}},
		"cap-both":                {image: plain, shell: caps, options: []string{"cap-add CHOWN", "cap-drop CHOWN"}},
		"cap-unknown":             {image: plain, shell: caps, options: []string{"cap-add FLY"}},
		"privileged":              {image: plain, shell: rights + "; mkdir /m && mount -t tmpfs x /m && echo mounted; (: > /proc/sys/kernel/domainname) && echo writes /proc/sys; grep ' /sys ' /proc/mounts | grep -o ' r[ow]'", options: []string{"privileged true"}, all: true},
		"privileged-user":         {image: asUser("web"), shell: rights, options: []string{"privileged true"}},
		"set-user-id":             {image: setuid, shell: `/bin/su web -c "/bin/su root -c 'id -u; grep Cap /proc/self/status'"`},
		"unconfined":              {image: plain, shell: rights, options: []string{"security-opt seccomp=unconfined"}},
		"no-new-privileges":       {image: plain, shell: rights, options: []string{"security-opt no-new-privileges"}},
		"no-new-privileges-true":  {image: plain, shell: rights, options: []string{"security-opt no-new-privileges:true"}},
		"no-new-privileges-false": {image: plain, shell: rights, options: []string{"security-opt no-new-privileges=false"}},
		"hostname":                {image: plain, shell: "hostname; cat /proc/sys/kernel/domainname", options: []string{"hostname web.example.org"}},
		"add-host":                {image: plain, shell: `while read -r a b; do case $b in db*|cache*) echo $a $b;; esac; done < /etc/hosts`, options: []string{"add-host db:10.0.0.1", "add-host cache:fd00::1"}},
		"read-only":               {image: plain, shell: "(echo x > /x) 2>/dev/null || echo sealed; (echo x > /etc/x) 2>/dev/null || echo sealed; echo x > /dev/shm/x && echo shm", options: []string{"read-only true"}},
		"read-only-tmpfs":         {image: plain, shell: "echo x > /t/x && cat /t/x; (echo x > /x) 2>/dev/null || echo sealed", options: []string{"read-only true", "tmpfs /t"}},
		"writes":                  {image: plain, shell: "echo x > /etc/x && cat /etc/x; umask"},
		"tmpfs":                   {image: plain, shell: mounted + "; stat -c '%a %u' /t", options: []string{"tmpfs /t"}},
		"tmpfs-options":           {image: plain, shell: mounted + "; stat -c '%a %u' /t", options: []string{"tmpfs /t:size=1m,mode=700,uid=7,exec"}},
		"tmpfs-suid":              {image: plain, shell: mounted, options: []string{"tmpfs /t:suid,noatime"}},
		"tmpfs-dev":               {image: plain, shell: mounted, options: []string{"tmpfs /t:dev"}, ours: "rw,nosuid,nodev,noexec,relatime \n", why: "devices in a container lead to the machine's"},
		"tmpfs-ro":                {image: plain, shell: mounted, options: []string{"tmpfs /t:ro,size=64k"}},
		"tmpfs-unknown":           {image: plain, shell: mounted, options: []string{"tmpfs /t:frob"}},
		"shm":                     {image: plain, shell: "stat -f -c '%b %S' /dev/shm"},
		"shm-size":                {image: plain, shell: "stat -f -c '%b %S' /dev/shm", options: []string{"shm-size 3m"}},
		"ulimit":                  {image: plain, shell: "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc", options: []string{"ulimit nofile=123:456", "ulimit core=0"}},
		"ulimit-none":             {image: plain, shell: "ulimit -Sc; ulimit -Hc", options: []string{"ulimit core=-1"}},
		"volume":                  {image: plain, shell: "cat /v/seen; echo x > /v/$$ && echo written; rm /v/$$ 2>/dev/null || /bin/busybox rm /v/$$", options: []string{"volume " + host + ":/v"}},
		"volume-ro":               {image: plain, shell: "cat /v/seen; (echo x > /v/x) 2>/dev/null || echo sealed", options: []string{"volume " + host + ":/v:ro"}},
		"volume-file":             {image: plain, shell: "cat /etc/mine", options: []string{"volume " + host + "/seen:/etc/mine:ro"}},
		"volume-over":             {image: plain, shell: "cat /etc/seen", options: []string{"volume " + host + ":/etc:rw"}},
		"volume-missing":          {image: plain, shell: "ls /v", options: []string{"volume " + host + "/none:/v"}, ours: refused, why: "a path of the machine is not made: it is as likely misspelled"},
	} {
		if r.all && !all {
			t.Logf("%s: this machine's root has not all capabilities, which Docker needs here", id)
			continue
		}
		ours, theirs := n.prints(f, id, r), e.prints(r) // in this order: docker makes what is not there
		want := theirs
		if r.why != "" {
			if want = r.ours; theirs == r.ours {
				t.Errorf("%s is as Docker's, and listed as a difference: %s", id, r.why)
			}
		}
		if d := diff.Diff(want, ours); d != "" {
			t.Errorf("%s: docker's (-) and ours (+):\n%s", id, d)
		}
	}
	noTaskProcesses(t)
}

func TestATaskOfDockersTypeIsAskedToEndAsDockerAsks(t *testing.T) {
	need(t, true)
	s, e := newShelf(t), newEngine(t)
	image := func(tag, signal string) string {
		return e.load(s.push(tag, v1.Config{Env: []string{"PATH=/bin"}, StopSignal: signal}))
	}
	plain, quits := image("plain:1", ""), image("quits:1", "SIGQUIT")
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	const tells = `for s in HUP INT QUIT USR1 USR2 TERM; do trap "echo $s; exit 0" $s; done; echo ready; while :; do sleep 0.02; done`
	for id, r := range map[string]*twin{
		"none":   {image: plain, shell: tells},
		"image":  {image: quits, shell: tells},
		"option": {image: quits, shell: tells, options: []string{"stop-signal SIGUSR1"}},
		"number": {image: plain, shell: tells, options: []string{"stop-signal 12"}},
	} {
		f.launch(r.task(id))
		out := filepath.Join(sandboxOf(t, n, f, id), "stdout")
		eventually(t, "the task to be ready", func() error { return lacks(record(out).String(), "ready") })
		must(t, f.kill(id))
		f.end(id)
		args := r.theirs()
		if code, said := e.docker(slices.Insert(args, 1, "--detach", "--name="+id)...); code != 0 {
			t.Fatalf("%v: %d %s", args, code, said)
		}
		logs := func() string { _, said := e.docker("logs", id); return said }
		eventually(t, "docker's container to be ready", func() error { return lacks(logs(), "ready") })
		if code, said := e.docker("stop", id); code != 0 {
			t.Errorf("docker stop: %d %s", code, said)
		}
		if d := diff.Diff(logs(), record(out).String()); d != "" {
			t.Errorf("%s: docker's (-) and ours (+):\n%s", id, d)
		}
	}
}

func lacks(said, words string) error {
	if !strings.Contains(said, words) {
		return fmt.Errorf("it says %q", said)
	}
	return nil
}
