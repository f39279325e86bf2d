package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
)

// secretEnv is the variable in which executors of this program have a secret.
const secretEnv = "PANDO_E2E_HUSHED"

// inMemory makes a node whose runtime directory is a tmpfs.
func inMemory(t *testing.T, args ...string) *node {
	t.Helper()
	var n *node
	t.Cleanup(func() { // once the node has ended, which comes first
		eventually(t, "its runtime directory to be free", func() error { // what ended in it may hold it for a moment
			return unix.Unmount(n.run(), 0)
		})
	})
	n = newNode(t, "up", args...)
	must(t, os.Mkdir(n.run(), 0o700))
	must(t, unix.Mount("tmpfs", n.run(), "tmpfs", 0, "size=64m"))
	return n
}

// hushed is a secret of a test, in all its forms.
type hushed struct {
	value []byte
	sum   string // SHA-256, by which a task says that it has it
	forms [][]byte
}

func newHushed(t *testing.T) *hushed {
	t.Helper()
	var b [15]byte
	_, err := rand.Read(b[:])
	must(t, err)
	h := &hushed{}
	h.is([]byte("hush-" + hex.EncodeToString(b[:])))
	return h
}

func (h *hushed) is(value []byte) {
	sum := sha256.Sum256(value)
	h.value, h.sum = value, hex.EncodeToString(sum[:])
	h.forms = [][]byte{value, []byte(hex.EncodeToString(value))}
	for shift := range 3 { // it may stand anywhere in what was encoded
		text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), value...))
		h.forms = append(h.forms, []byte(text[4:len(text)-4]))
	}
}

func (h *hushed) secret() *mesosv1.Secret {
	return &mesosv1.Secret{Type: mesosv1.Secret_VALUE.Enum(), Value: &mesosv1.Secret_Value{Data: h.value}}
}

// inEnvironment gives a command the secret.
func (h *hushed) inEnvironment(c *mesosv1.CommandInfo, s *mesosv1.Secret) {
	if c.Environment == nil {
		c.Environment = &mesosv1.Environment{}
	}
	c.Environment.Variables = append(c.Environment.Variables, &mesosv1.Environment_Variable{
		Name: new(secretEnv), Type: mesosv1.Environment_Variable_SECRET.Enum(), Secret: s,
	})
}

// has is a shell's test whether it has it; summed prints it.
func (h *hushed) has(summed string) string {
	return `test "$(` + summed + ` | /bin/busybox sha256sum)" = "` + h.sum + `  -"`
}

const summedEnv = `printf %s "$` + secretEnv + `"`

func secretVolume(in string, s *mesosv1.Secret) *mesosv1.Volume {
	return &mesosv1.Volume{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: &in, Source: &mesosv1.Volume_Source{Type: mesosv1.Volume_Source_SECRET.Enum(), Secret: s}}
}

// in says in which form something holds the secret.
func (h *hushed) in(b []byte) error {
	for i, form := range h.forms {
		if bytes.Contains(b, form) {
			return fmt.Errorf("it holds the secret in form %d", i)
		}
	}
	return nil
}

// nowhere looks for the secret wherever it must not be: on the disk, in the log, in all that master and agent say, and in what
// processes were started with.
func (h *hushed) nowhere(t *testing.T, n *node) {
	t.Helper()
	look := func(what string, b []byte, err error) {
		if err == nil {
			err = h.in(b)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, top := range []string{n.data(), n.run()} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			switch {
			case path == filepath.Join(n.run(), "secrets"):
				return fs.SkipDir
			case err == nil && d.Type().IsRegular():
				b, err := os.ReadFile(path)
				look(path, b, err)
			}
			return nil // what goes meanwhile holds nothing
		})
		must(t, err)
	}
	look("the log", []byte(n.out.String()), nil)
	for pid := range processes() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		look("a command line", b, err)
	}
	for _, path := range []string{"/state", "/tasks", "/frameworks", "/slaves", "/state-summary", "/roles", "/metrics/snapshot", "/flags"} {
		look(path, []byte(ask(t, http.DefaultClient, http.MethodGet, "http://"+n.master+path, "").body), nil)
	}
	for _, path := range []string{"/state", "/containers", "/monitor/statistics", "/metrics/snapshot", "/flags"} {
		look("the agent's "+path, []byte(ask(t, http.DefaultClient, http.MethodGet, "http://"+n.agent+path, "").body), nil)
	}
	for _, addr := range []string{n.master, n.agent} {
		for _, kind := range []string{"GET_STATE", "GET_TASKS", "GET_EXECUTORS", "GET_FRAMEWORKS", "GET_AGENTS", "GET_AGENT", "GET_CONTAINERS", "GET_OPERATIONS"} {
			for _, media := range []string{"application/json", "application/x-protobuf"} {
				got := ask(t, http.DefaultClient, http.MethodPost, "http://"+addr+"/api/v1", `{"type":"`+kind+`","get_containers":{"show_nested":true,"show_standalone":true}}`, "Content-Type", "application/json", "Accept", media)
				look(kind, []byte(got.body), nil)
			}
		}
	}
}

// listen gathers what an operator's subscription says, until the test ends.
func listen(t *testing.T, master string) func() []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+master+"/api/v1", strings.NewReader(`{"type":"SUBSCRIBE"}`))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	must(t, err)
	var mu sync.Mutex
	var all []byte
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 64<<10); ; {
			k, err := w.Body.Read(buf)
			mu.Lock()
			all = append(all, buf[:k]...)
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = w.Body.Close(); <-done }) // a stream's end has no error that matters
	return func() []byte { mu.Lock(); defer mu.Unlock(); return bytes.Clone(all) }
}

// vaultOf lists what is in a node's vault.
func vaultOf(t *testing.T, n *node) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(n.run(), "secrets"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return nil // likewise
	})
	must(t, err)
	return all
}

func TestASecretReachesItsTaskAndNothingElse(t *testing.T) {
	need(t, true)
	s, h := newShelf(t), newHushed(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := inMemory(t, "--plain-registries", s.host)
	n.start()
	told := listen(t, n.master)
	f := subscribe(t, n.master, checkpointing)

	bare := task("bare", h.has(summedEnv)+" && echo has it; exec sleep 1000")
	h.inEnvironment(bare.Command, h.secret())
	bare.HealthCheck = &mesosv1.HealthCheck{
		Type: mesosv1.HealthCheck_COMMAND.Enum(), Command: &mesosv1.CommandInfo{Value: new(h.has(summedEnv) + " && touch checked")},
		DelaySeconds: new(0.0), IntervalSeconds: new(0.1), GracePeriodSeconds: new(0.0), ConsecutiveFailures: new(uint32(100)),
	}
	bare.Command.Environment.Variables[1].Name = new(secretEnv + "_2") // the check is to have its own
	bare.Command.Value = new(strings.Replace(bare.Command.GetValue(), secretEnv, secretEnv+"_2", 1))
	h.inEnvironment(bare.HealthCheck.Command, h.secret())
	boxed := inImage(task("boxed", h.has(summedEnv)+" && "+h.has("cat /run/it")+" && "+h.has("cat /mnt/mesos/sandbox/below")+" && (echo x > /run/it) 2>/dev/null || echo sealed; stat -c %a /run/it; grep -c ' /run/it tmpfs ro' /proc/mounts; exec sleep 1000"), image)
	h.inEnvironment(boxed.Command, h.secret())
	boxed.Container.Volumes = []*mesosv1.Volume{secretVolume("/run/it", h.secret()), secretVolume("below", h.secret())}
	f.launch(bare, boxed)
	grouped := task("grouped", h.has(summedEnv)+" && echo has it; exec sleep 1000")
	h.inEnvironment(grouped.Command, h.secret())
	f.launchGroup(grouped)
	own := inExecutor(t, "hushed", "json")
	h.inEnvironment(own.Executor.Command, h.secret())
	own.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), Volumes: []*mesosv1.Volume{secretVolume("/x", h.secret())}}
	f.launch(own)

	box := sandboxOf(t, n, f, "bare")
	eventually(t, "the tasks to have the secret", func() error {
		return errors.Join(holds(box+"/stdout", "has it\n"), holds(sandboxOf(t, n, f, "boxed")+"/stdout", "sealed\n400\n1\n"), holds(boxOf(t, n, f, "grouped")+"/stdout", "has it\n"))
	})
	checked := func() {
		t.Helper()
		if err := os.Remove(box + "/checked"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		eventually(t, "the check to have it", func() error { _, err := os.Stat(box + "/checked"); return err })
	}
	checked()
	api := containers(t, n.agent, true, http.DefaultClient)
	parent := f.await("bare", running).GetContainerStatus().GetContainerId()
	command := &mesosv1.CommandInfo{Value: new(h.has(summedEnv) + " && exit 5")}
	h.inEnvironment(command, h.secret())
	kid := &mesosv1.ContainerID{Value: new("kid"), Parent: parent}
	_, err := api.Call(t.Context(), &agent.Call{Type: agent.Call_LAUNCH_CONTAINER.Enum(), LaunchContainer: &agent.Call_LaunchContainer{ContainerId: kid, Command: command}})
	must(t, err)
	waited := ask(t, http.DefaultClient, http.MethodPost, "http://"+n.agent+"/api/v1", fmt.Sprintf(`{"type":"WAIT_CONTAINER","wait_container":{"container_id":{"value":"kid","parent":{"value":%q}}}}`, parent.GetValue()),
		"Content-Type", "application/json", "Accept", "application/json")
	if !strings.Contains(waited.body, `"exit_status":1280`) {
		t.Errorf("a container by call ended with %s", waited.body)
	}

	h.nowhere(t, n)
	if err := h.in(told()); err != nil || len(told()) == 0 {
		t.Errorf("a subscription of %d bytes: %v", len(told()), err)
	}
	if v := vaultOf(t, n); len(v) == 0 {
		t.Error("the vault is empty while its tasks run")
	}
	times := f.subscriptions()
	n.signal(syscall.SIGKILL)
	for _, lost := range []string{"launches/ended", "volumes/ended/0"} { // as if it had been killed just before it removed them
		lost = filepath.Join(n.run(), "secrets", lost)
		must(t, os.MkdirAll(filepath.Dir(lost), 0o700))
		must(t, os.WriteFile(lost, h.value, 0o600))
	}
	n.start()
	f.resubscribed(times)
	checked()
	more := inExecutor(t, "hushed-later", "json")
	more.Executor = own.Executor // another value would be another executor's
	more.Container = own.Container
	f.launch(more)
	told = listen(t, n.master)
	h.nowhere(t, n)
	for _, id := range []string{"bare", "boxed", "grouped", "hushed", "hushed-later"} {
		if s := f.await(id, running); s.GetState() != running {
			t.Errorf("%s is %v", id, s)
		}
		must(t, f.kill(id))
	}
	for _, id := range []string{"bare", "boxed", "grouped", "hushed", "hushed-later"} {
		f.end(id)
	}
	eventually(t, "the vault to be empty", func() error {
		if v := vaultOf(t, n); len(v) > 0 {
			return fmt.Errorf("there is %v", v)
		}
		return nil
	})
	h.nowhere(t, n)
	if err := h.in(told()); err != nil {
		t.Errorf("another subscription: %v", err)
	}
}

func TestASecretThatCannotBeHadFailsItsTaskWithWords(t *testing.T) {
	need(t, true)
	h, n := newHushed(t), newNode(t, "up") // its runtime directory is on the disk that tests have
	if st := (unix.Statfs_t{}); unix.Statfs(base, &st) == nil && st.Type == unix.TMPFS_MAGIC {
		t.Skip("SKIP: the directory for temporary files is a tmpfs; set TMPDIR to one on a disk")
	}
	n.start()
	f := subscribe(t, n.master)
	reference := &mesosv1.Secret{Type: mesosv1.Secret_REFERENCE.Enum(), Reference: &mesosv1.Secret_Reference{Name: new("db/password")}}
	for id, c := range map[string]struct {
		edit  func(*mesosv1.TaskInfo)
		words string
	}{
		"reference": {func(x *mesosv1.TaskInfo) { h.inEnvironment(x.Command, reference) }, `"db/password" is a REFERENCE`},
		"checked": {func(x *mesosv1.TaskInfo) {
			x.Check = &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_COMMAND.Enum(), Command: &mesosv1.CheckInfo_Command{Command: &mesosv1.CommandInfo{Value: new("true")}}}
			h.inEnvironment(x.Check.Command.Command, reference)
		}, `"db/password" is a REFERENCE`},
		"volume": {func(x *mesosv1.TaskInfo) {
			x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), Volumes: []*mesosv1.Volume{secretVolume("/x", h.secret())}}
		}, "give it an image"},
		"on-disk": {func(x *mesosv1.TaskInfo) { h.inEnvironment(x.Command, h.secret()) }, "--runtime-dir on a tmpfs"},
	} {
		x := task(id, "true")
		c.edit(x)
		must(t, f.accept(x))
		if e := f.end(id); e.GetState() != failed || e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(e.GetMessage(), c.words) {
			t.Errorf("%s ended as %v", id, e)
		}
	}
	h.nowhere(t, n)
	if v := vaultOf(t, n); len(v) > 0 {
		t.Errorf("the vault holds %v", v)
	}
}

func TestAnImageIsPulledWithTheCredentialsOfItsTask(t *testing.T) {
	need(t, true)
	s, h := newShelf(t), newHushed(t)
	var shut atomic.Bool
	shelves := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); shut.Load() && password != string(h.value) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		shelves.ServeHTTP(w, r)
	}))
	t.Cleanup(s.server.Close)
	s.host = s.server.Listener.Addr().String()
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	shut.Store(true)
	n := inMemory(t, "--plain-registries", s.host)
	n.start()
	f := subscribe(t, n.master)
	must(t, f.accept(inImage(task("without", "true"), image)))
	if e := f.end("without"); e.GetState() != failed {
		t.Errorf("without credentials it ended as %v", e)
	}
	x := inImage(task("with", "exec sleep 1000"), image)
	x.Container.Mesos.Image.Docker.Config = &mesosv1.Secret{Type: mesosv1.Secret_VALUE.Enum(), Value: &mesosv1.Secret_Value{
		Data: fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, s.host, base64.StdEncoding.EncodeToString(append([]byte("me:"), h.value...))),
	}}
	f.launch(x)
	h.nowhere(t, n)
	times := f.subscriptions()
	n.signal(syscall.SIGKILL)
	n.start()
	f.resubscribed(times)
	h.nowhere(t, n)
	f.goodbye("with")
	eventually(t, "the vault to be empty", func() error {
		if v := vaultOf(t, n); len(v) > 0 {
			return fmt.Errorf("there is %v", v)
		}
		return nil
	})
}
