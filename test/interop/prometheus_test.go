package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPrometheusScrapesMasterAndAgent runs Debian's prometheus against a node: both targets are up, what they tell is what /state
// says, and promtool can read all that they tell.
func TestPrometheusScrapesMasterAndAgent(t *testing.T) {
	interop(t)
	need(t, "prometheus", "promtool")
	c := start(t)
	failing := exec.CommandContext(t.Context(), pando(t), "run", "--master", c.Master, "--uri", "/nowhere/to/be/found", "--", "true")
	if out, err := failing.CombinedOutput(); failing.ProcessState == nil || failing.ProcessState.ExitCode() != 125 {
		t.Fatalf("pando run: %v\n%s", err, out)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: pando\n  static_configs: [{targets: [%q, %q]}]\n", c.Master, c.Agent)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	p := exec.CommandContext(t.Context(), "prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", own, "--log.level", "warn")
	p.Cancel = func() error { return p.Process.Signal(syscall.SIGTERM) }
	p.WaitDelay = 10 * time.Second
	var said strings.Builder
	p.Stderr = &said
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = p.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = p.Wait()                          // as it was told
	}()

	query := func(what string) (values map[string]string) {
		r, err := http.Get("http://" + own + "/api/v1/query?query=" + url.QueryEscape(what))
		if err != nil {
			return nil
		}
		defer r.Body.Close()
		var answer struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Value  []any
				}
			}
		}
		values = map[string]string{}
		if json.NewDecoder(r.Body).Decode(&answer) == nil {
			for _, x := range answer.Data.Result {
				values[x.Metric["instance"]] = fmt.Sprint(x.Value[1])
			}
		}
		return values
	}
	if !await(30*time.Second, func() bool { v := query("up"); return v[c.Master] == "1" && v[c.Agent] == "1" }) {
		t.Fatalf("the targets are %v\n%s", query("up"), said.String())
	}
	for what, want := range map[string]string{
		"pando_master_agents_active": "1", "pando_master_elected": "1",
		`sum by (instance) (pando_master_task_ends_total{state="failed",source="agent",reason="container_launch_failed"})`: "1",
	} {
		if !await(20*time.Second, func() bool { return query(what)[c.Master] == want }) {
			t.Errorf("%s is %v, want %s", what, query(what), want)
		}
	}
	for _, addr := range []string{c.Master, c.Agent} {
		r, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		if err = firstOf(err, r.Body.Close()); err != nil {
			t.Fatal(err)
		}
		lint := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
		lint.Stdin = strings.NewReader(string(text))
		if out, err := lint.CombinedOutput(); err != nil {
			t.Errorf("promtool says of %s: %v\n%s", addr, err, out)
		}
		if strings.Contains(string(text), "by its flat name") {
			t.Errorf("a number of %s belongs to no family of names:\n%s", addr, text)
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
