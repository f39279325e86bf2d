package nodes

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/internal/host"
)

// report is what simulate measured. Figures of the master are there only when it is its own.
type report struct {
	own     bool
	Masters []string `json:"masters"`
	Seed    uint64   `json:"seed"`
	Agents  int      `json:"agents"`
	// Counts of the agents' side, at the end.
	Counts fleet.Counts `json:"counts"`

	RegisterSecs  float64 `json:"register_seconds"`
	RegisterCPU   float64 `json:"register_master_cpu_us_per_agent,omitempty"`
	RSSEmpty      float64 `json:"master_rss_empty_mib,omitempty"`
	RSSRegistered float64 `json:"master_rss_registered_mib,omitempty"`
	KiBPerAgent   float64 `json:"master_kib_per_agent,omitempty"`
	IdleCPU       float64 `json:"master_idle_cpu_percent,omitempty"`
	RSSAfter      float64 `json:"master_rss_after_mib,omitempty"`

	SelfEmpty       float64 `json:"simulator_rss_empty_mib"`
	SelfRegistered  float64 `json:"simulator_rss_registered_mib"`
	SelfKiBPerAgent float64 `json:"simulator_kib_per_agent"`

	Tasks          int     `json:"tasks"`
	Encoding       string  `json:"encoding"`
	Seconds        float64 `json:"seconds,omitempty"` // until the last task ran
	PerSecond      float64 `json:"tasks_per_second,omitempty"`
	FirstPerSecond float64 `json:"first_tenth_per_second,omitempty"`
	LastPerSecond  float64 `json:"last_tenth_per_second,omitempty"`
	Ran            int64   `json:"ran"`
	Finished       int64   `json:"finished"`
	Failed         int64   `json:"failed"`
	Killed         int64   `json:"killed"`
	Lost           int64   `json:"lost"`
	P50            float64 `json:"running_after_p50_ms,omitempty"` // from the launch to TASK_RUNNING
	P90            float64 `json:"running_after_p90_ms,omitempty"`
	P99            float64 `json:"running_after_p99_ms,omitempty"`
	Max            float64 `json:"running_after_max_ms,omitempty"`

	MasterCPU      float64     `json:"master_cpu_seconds,omitempty"` // of the load
	MasterCPUTask  float64     `json:"master_cpu_us_per_task,omitempty"`
	SelfCPU        float64     `json:"simulator_cpu_seconds"`
	SelfCPUTask    float64     `json:"simulator_cpu_us_per_task"`
	Calls          fleet.Calls `json:"calls"`
	TotalSecs      float64     `json:"total_seconds"`
	SubscribedOnce int64       `json:"subscriptions"`
}

// loaded takes in what the scheduler saw. used is the processor time of the master, self of this process.
func (r *report) loaded(l *fleet.Load, used, self time.Duration) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r.Ran, r.Failed, r.Killed, r.Lost = l.Running.Load(), l.Failed.Load(), l.Killed.Load(), l.Lost.Load()
	r.Finished = l.Ended.Load() - r.Failed - r.Killed - r.Lost
	t := l.Latency(0)
	r.P50, r.P90, r.P99, r.Max = ms(t.P50), ms(t.P90), ms(t.P99), ms(t.Max)
	n := float64(max(r.Ran, 1))
	r.MasterCPU, r.MasterCPUTask = used.Seconds(), micros(used)/n
	r.SelfCPU, r.SelfCPUTask = self.Seconds(), micros(self)/n
	r.Calls, r.SubscribedOnce = l.Calls(), l.Subscriptions.Load()
}

func (r *report) print(out io.Writer, asJSON bool) error {
	if asJSON {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(b))
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	c := r.Counts
	row("AGENTS", "%d, %d registered at the end", r.Agents, c.Registered)
	row("  registered", "in %.1f s", r.RegisterSecs)
	if c.Hangs+c.Drops+c.Restarts+c.Missed+c.Dismissed > 0 {
		row("  faults", "%d hung, %d dropped, %d restarted; %d not carried out", c.Hangs, c.Drops, c.Restarts, c.Missed)
		row("  at the end", "%d hang, %d away, %d gone, %d dismissed by the master", c.Hung, c.Away, c.Dropped, c.Dismissed)
	}
	row("  their tasks", "%d launched: %d run, %d ended (%d failed, %d killed), %d gone with their agents", c.Launched, c.Running, c.Ended, c.Failed, c.Killed, c.Gone)
	row("  memory here", "%.1f KiB an agent", r.SelfKiBPerAgent)
	if r.own {
		row("MASTER", "%.0f MiB empty, %.0f MiB with agents: %.0f KiB an agent", r.RSSEmpty, r.RSSRegistered, r.KiBPerAgent)
		row("  cpu", "%.0f µs a registration, %.1f %% of a core at rest", r.RegisterCPU, r.IdleCPU)
	}
	if r.Tasks > 0 {
		row("TASKS", "%d in %s", r.Tasks, r.Encoding)
		row("  ran", "%d in %.1f s: %.0f/s (first tenth %.0f/s, last %.0f/s)", r.Ran, r.Seconds, r.PerSecond, r.FirstPerSecond, r.LastPerSecond)
		row("  ended", "%d finished, %d failed, %d killed, %d lost", r.Finished, r.Failed, r.Killed, r.Lost)
		row("  launch to running", "median %.1f ms, p90 %.1f ms, p99 %.1f ms, at most %.1f ms", r.P50, r.P90, r.P99, r.Max)
		row("  cpu a task", "%.0f µs here", r.SelfCPUTask)
		if r.own {
			row("", "%.0f µs in the master", r.MasterCPUTask)
		}
	}
	return w.Flush()
}

// rows is the file of --csv; nil: there is none.
type rows struct {
	f *os.File
	w *csv.Writer
}

var columns = []string{
	"seconds", "agents_registered", "agents_hung", "agents_away", "agents_gone", "tasks_launched", "tasks_running", "tasks_ended", "tasks_failed",
	"launched_per_second", "ended_per_second", "master_cpu_percent", "master_rss_mib", "simulator_cpu_percent", "simulator_rss_mib",
}

func newRows(path string) (*rows, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no file
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("--csv: %w", err)
	}
	r := &rows{f, csv.NewWriter(f)}
	_ = r.w.Write(columns) // Flush tells, as below
	return r, nil
}

func (r *rows) add(cells []string) {
	if r != nil {
		_ = r.w.Write(cells)
		r.w.Flush() // whoever looks sees the last second
	}
}

func (r *rows) close() error {
	if r == nil {
		return nil
	}
	r.w.Flush()
	err := r.w.Error()
	if e := r.f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("--csv: %w", err)
	}
	return nil
}

// tellEvery is how many seconds lie between two lines of progress.
const tellEvery = 5

// watch writes a line of figures every second, and tells people of the progress now and then.
func (s *simulation) watch(ctx context.Context, table *rows, tell bool) {
	begun, last := time.Now(), time.Now()
	was, cpu, self := s.fl.Counts(), s.cpu(), host.CPUTime(os.Getpid())
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		took := time.Since(last).Seconds()
		last = time.Now()
		is, cpuNow, selfNow := s.fl.Counts(), s.cpu(), host.CPUTime(os.Getpid())
		number := func(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }
		whole := func(n int64) string { return strconv.FormatInt(n, 10) }
		master := []string{"", ""}
		if s.pid != 0 {
			master = []string{number(100 * (cpuNow - cpu).Seconds() / took), number(mib(s.pid))}
		}
		launched, ended := float64(is.Launched-was.Launched)/took, float64(is.Ended-was.Ended)/took
		table.add([]string{
			number(time.Since(begun).Seconds()), whole(is.Registered), whole(is.Hung), whole(is.Away), whole(is.Dropped + is.Dismissed),
			whole(is.Launched), whole(is.Running), whole(is.Ended), whole(is.Failed), number(launched), number(ended),
			master[0], master[1], number(100 * (selfNow - self).Seconds() / took), number(mib(os.Getpid())),
		})
		was, cpu, self = is, cpuNow, selfNow
		if tell && n%tellEvery == 0 {
			fmt.Fprintf(s.words, "%4.0f s: %d agents registered%s; %d tasks launched (%.0f/s), %d run, %d ended, %d failed\n",
				time.Since(begun).Seconds(), is.Registered, troubles(is), is.Launched, launched, is.Running, is.Ended, is.Failed)
		}
	}
}

func troubles(c fleet.Counts) string {
	var b strings.Builder
	for _, x := range []struct {
		n    int64
		what string
	}{{c.Hung, "hang"}, {c.Away, "away"}, {c.Dropped + c.Dismissed, "gone"}} {
		if x.n > 0 {
			fmt.Fprintf(&b, ", %d %s", x.n, x.what)
		}
	}
	return b.String()
}
