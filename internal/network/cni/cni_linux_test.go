package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	mesosv1 "github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
)

var sameAddress = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// faked is a CNI with networks of the plugin in testdata, each of which does what its name says. The plugin's log is at the path.
func faked(t *testing.T, does ...string) (c *CNI, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	t.Setenv("FAKE_LOG", log)
	plugins, err := filepath.Abs("testdata/plugins")
	if err != nil {
		t.Fatal(err)
	}
	c = &CNI{ConfDir: filepath.Join(dir, "conf"), PluginDirs: []string{plugins}, CacheDir: filepath.Join(dir, "cache"), Timeout: 10 * time.Second}
	for _, do := range does {
		c.describe(t, do+".conflist", `{"cniVersion":"0.4.0","name":"`+do+`","plugins":[{"type":"fake","do":"first","capabilities":{"portMappings":true}},{"type":"fake","do":"`+do+`"}]}`)
	}
	return c, log
}

func (c *CNI) describe(tb testing.TB, file, text string) {
	tb.Helper()
	if err := os.MkdirAll(c.ConfDir, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.ConfDir, file), []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// told are the commands that the fake plugin was told, in order.
func told(t *testing.T, log string) []string {
	t.Helper()
	text, _ := os.ReadFile(log)
	var commands []string
	for line := range strings.Lines(string(text)) {
		command, _, _ := strings.Cut(line, " ")
		commands = append(commands, command)
	}
	return commands
}

// child is the process that the fake plugin started, or 0.
func child(t *testing.T, log string) int {
	t.Helper()
	text, err := os.ReadFile(log + ".child")
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 2 {
		t.Fatalf("a child %q: %v", text, err)
	}
	return pid
}

// runs says whether a process goes on, after the second that a killed one may take to die.
func runs(pid int) bool {
	for range 100 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// left are the files of attachments that are there.
func (c *CNI) left() []string {
	attachments, _ := filepath.Glob(filepath.Join(c.CacheDir, "attachments", "*"))
	results, _ := filepath.Glob(filepath.Join(c.CacheDir, "results", "*"))
	return append(attachments, results...)
}

func TestAPluginIsToldWhatWasAskedAndItsResultIsRead(t *testing.T) {
	c, log := faked(t, "well")
	info := &mesosv1.NetworkInfo{Name: new("well"), Labels: &mesosv1.Labels{Labels: []*mesosv1.Label{{Key: new("zone"), Value: new("a")}}}}
	args := Args{Interface: "eth0", Ports: []network.Port{{Host: 31000, Container: 80}, {Host: 31001, Container: 53, Protocol: network.UDP}}, Info: info}
	got, err := c.Add(t.Context(), "box", "/ns", "well", args)
	want := network.Result{
		Interface: "eth0",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.3.0.5/24"), netip.MustParsePrefix("fd00::5/64")},
		Gateways:  []netip.Addr{netip.MustParseAddr("10.3.0.1"), netip.MustParseAddr("fd00::1")},
		Routes:    []network.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.3.0.1")}, {Destination: netip.MustParsePrefix("10.4.0.0/16")}},
		DNS:       network.DNS{Nameservers: []netip.Addr{netip.MustParseAddr("10.3.0.2")}, Domain: "d", Search: []string{"s"}, Options: []string{"o"}},
	}
	if diff := cmp.Diff(want, got, sameAddress); diff != "" || err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
	text, _ := os.ReadFile(log)
	first, _, _ := strings.Cut(string(text), "\n")
	var said struct {
		Runtime struct{ PortMappings json.RawMessage } `json:"runtimeConfig"`
		Args    map[string]json.RawMessage
	}
	at := strings.Index(first, "{")
	if err := json.Unmarshal([]byte(first[at:]), &said); err != nil || first[:at] != "ADD box eth0 " {
		t.Fatalf("%s: %v", first, err)
	}
	if got, want := string(said.Runtime.PortMappings), `[{"hostPort":31000,"containerPort":80,"protocol":"tcp"},{"hostPort":31001,"containerPort":53,"protocol":"udp"}]`; got != want {
		t.Errorf("ports %s; want %s", got, want)
	}
	if got, want := string(said.Args["org.apache.mesos"]), `{"network_info":{"labels":{"labels":[{"key":"zone","value":"a"}]},"name":"well"}}`; got != want {
		t.Errorf("info %s; want %s", got, want)
	}
	if _, err := c.Add(t.Context(), "box", "/ns", "well", args); !fault.Is(err, fault.Conflict) {
		t.Errorf("added twice: %v", err)
	}
	if err := c.Check(t.Context(), "box", "eth0"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(c.ConfDir, "well.conflist")); err != nil { // an operator's change does not strand containers
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Del(t.Context(), "box", "eth0"); err != nil {
			t.Error(err)
		}
	}
	if got := told(t, log); !slices.Equal(got, []string{"ADD", "ADD", "CHECK", "CHECK", "DEL", "DEL"}) || len(c.left()) != 0 {
		t.Errorf("told %v, and left %v", got, c.left())
	}
	if err := c.Check(t.Context(), "box", "eth0"); !fault.Is(err, fault.NotFound) {
		t.Errorf("checked when it is gone: %v", err)
	}
}

func TestAPluginThatFailsIsQuotedAndEverythingIsTakenBack(t *testing.T) {
	for do, want := range map[string]string{
		"fail":    "no addresses left; ask for more (code 7, exit status 1)",
		"grumble": `exit status 3, saying "cannot open /dev/net"`,
		"garbage": `it printed no result, saying "all is well"`,
		"nothing": "it printed no result",
		"list":    `it printed no result, saying "[1]"`,
		"hang":    `it was killed when its time was over, saying "waiting for a lock"`,
		"flood":   "it printed more than 1048576 bytes",
	} {
		t.Run(do, func(t *testing.T) {
			c, log := faked(t, do)
			if do == "hang" {
				c.Timeout = 500 * time.Millisecond
			}
			start := time.Now()
			_, err := c.Add(t.Context(), "box", "/ns", do, Args{Interface: "eth0"})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `network "`+do+`": `) {
				t.Errorf("%v; want %s", err, want)
			}
			if do == "hang" && !fault.Is(err, fault.Unavailable) {
				t.Errorf("no answer is of kind %s", fault.Of(err))
			}
			if got := told(t, log); !slices.Equal(got, []string{"ADD", "ADD", "DEL", "DEL"}) {
				t.Errorf("told %v", got)
			}
			if left := c.left(); len(left) != 0 {
				t.Errorf("left %v", left)
			}
			if pid := child(t, log); pid != 0 && runs(pid) {
				syscall.Kill(pid, syscall.SIGKILL)
				t.Error("its child runs on")
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestAPluginThatLeavesAChildBehindIsNotWaitedFor(t *testing.T) {
	c, log := faked(t, "linger")
	start := time.Now()
	defer func() {
		if pid := child(t, log); pid != 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	if _, err := c.Add(t.Context(), "box", "/ns", "linger", Args{Interface: "eth0"}); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

func TestADelThatFailsIsTriedAgainAndTellsTheOthersAtLeast(t *testing.T) {
	c, log := faked(t, "stuck")
	if _, err := c.Add(t.Context(), "box", "/ns", "stuck", Args{Interface: "eth0"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Del(t.Context(), "box", "eth0"); err == nil || !strings.Contains(err.Error(), `remove container box from network "stuck"`) {
			t.Errorf("%v", err)
		}
		if removed, err := c.Sweep(t.Context(), nil); err == nil || len(removed) != 0 {
			t.Errorf("swept %v: %v", removed, err)
		}
	}
	text, _ := os.ReadFile(log)
	if n := strings.Count(string(text), `"do":"first"`); n != 5 { // ADD, and the four
		t.Errorf("the other plugin was told %d times", n)
	}
	if len(c.left()) != 2 {
		t.Errorf("left %v", c.left())
	}
}

func TestACheckHasThePluginsWords(t *testing.T) {
	c, _ := faked(t, "changed")
	if _, err := c.Add(t.Context(), "box", "/ns", "changed", Args{Interface: "eth0"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context(), "box", "eth0"); err == nil || !strings.Contains(err.Error(), "the address is gone") {
		t.Error(err)
	}
}

func TestASweepFindsContainersThatACrashLeftInTheMiddle(t *testing.T) {
	c, log := faked(t, "well")
	for _, id := range []string{"known", "gone"} {
		if _, err := c.Add(t.Context(), id, "/ns", "well", Args{Interface: "eth0"}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.prepare("half", "well", &Args{Interface: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	c.write(&record{Version: 1, Container: "half", Network: "well", Interface: "eth0", Namespace: "/ns", Config: list.Bytes}) // and no ADD
	os.WriteFile(filepath.Join(c.CacheDir, "attachments", ".new-1"), []byte("{"), 0o600)
	os.Remove(log)
	removed, err := c.Sweep(t.Context(), []string{"known"})
	if err != nil || !slices.Equal(removed, []string{"gone", "half"}) || !slices.Equal(told(t, log), []string{"DEL", "DEL", "DEL", "DEL"}) {
		t.Errorf("%v, told %v: %v", removed, told(t, log), err)
	}
	if files, _ := os.ReadDir(filepath.Join(c.CacheDir, "attachments")); len(files) != 1 {
		t.Errorf("left %v", files)
	}
}

func TestNetworksAreReadAnewForEachCallAndUnknownOnesAreToldApart(t *testing.T) {
	c, _ := faked(t)
	if _, err := c.Add(t.Context(), "box", "/ns", "any", Args{Interface: "eth0"}); !fault.Is(err, fault.NotFound) || err.Error() != `there is no network "any", nor any other on this agent` {
		t.Error(err)
	}
	c.describe(t, "20-b.conf", `{"cniVersion":"0.4.0","name":"b","type":"fake"}`)
	c.describe(t, "10-a.json", `{"cniVersion":"0.4.0","name":"a","plugins":[{"type":"fake"}]}`)
	c.describe(t, "30-a.conflist", `{"cniVersion":"0.4.0","name":"a","plugins":[{"type":"absent"}]}`)
	c.describe(t, "40-bad.conf", `{"name":`)
	c.describe(t, "notes.txt", `not a description`)
	if names, err := c.Networks(); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%v: %v", names, err)
	}
	_, err := c.Add(t.Context(), "box", "/ns", "c", Args{Interface: "eth0"})
	if want := `there is no network "c" on this agent; it has a, b; not read: 40-bad.conf: unexpected end of JSON input`; err == nil || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
	for i, name := range []string{"a", "b"} {
		if _, err := c.Add(t.Context(), "box", "/ns", name, Args{Interface: []string{"eth0", "eth1"}[i]}); err != nil {
			t.Error(err)
		}
	}
	_, err = c.Add(t.Context(), "box", "/ns", "b", Args{Interface: "eth2", Ports: []network.Port{{Host: 1, Container: 1}}})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `port_mappings: network "b" has no plugin with the capability portMappings`) {
		t.Errorf("ports where nobody maps them: %v", err)
	}
	c.describe(t, "00-a.conf", `{"cniVersion":"0.4.0","name":"a","type":"absent"}`)
	_, err = c.Add(t.Context(), "box2", "/ns", "a", Args{Interface: "eth0"})
	if err == nil || !strings.Contains(err.Error(), `there is no program for plugin "absent" in `+c.PluginDirs[0]) {
		t.Errorf("no program: %v", err)
	}
}

func TestACallThatIsGivenUpTakesBackWhatItBegan(t *testing.T) {
	c, log := faked(t, "hang")
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if _, err := c.Add(ctx, "box", "/ns", "hang", Args{Interface: "eth0"}); err == nil {
		t.Error("no error")
	}
	if got := told(t, log); !slices.Equal(got, []string{"ADD", "ADD", "DEL", "DEL"}) || len(c.left()) != 0 {
		t.Errorf("told %v, left %v", got, c.left())
	}
}
