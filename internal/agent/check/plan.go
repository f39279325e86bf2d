// Package check looks after tasks: health checks, which can end a task, and checks, which only report. When to look and
// what follows is a machine; the looking itself is a thin doer.
package check

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/mesos"
)

// Probe is what is looked at; one of its members is set.
type Probe struct {
	Command *container.Command
	HTTP    *HTTP
	TCP     *TCP
}

// HTTP asks a page of the task.
type HTTP struct {
	Scheme string // http or https
	Port   uint32
	Path   string // begins with a slash, or is empty
	IPv6   bool
}

// TCP connects to the task.
type TCP struct {
	Port uint32
	IPv6 bool
}

// Plan is one check of one task.
type Plan struct {
	// Health tells a health check from a check.
	Health bool
	Probe  Probe
	// Delay is from the task's start to the first look, Interval from the end of one to the next. Timeout bounds each; 0:
	// not bounded.
	Delay, Interval, Timeout time.Duration
	// Grace is how long after the start failures do not count, unless it has been healthy before. Failures in a row end the
	// task. Both are of health checks only.
	Grace    time.Duration
	Failures uint32
}

// OfHealth reads a health check. The error names the field that is wrong.
func OfHealth(h *mesosv1.HealthCheck) (Plan, error) {
	p := Plan{Health: true, Failures: max(1, h.GetConsecutiveFailures())}
	var err error
	switch h.GetType() {
	case mesosv1.HealthCheck_COMMAND:
		p.Probe.Command, err = command("health_check.command", h.GetCommand())
	case mesosv1.HealthCheck_HTTP:
		t := h.GetHttp()
		p.Probe.HTTP, err = page("health_check.http", t.GetScheme(), t.GetPort(), t.GetPath())
		if err == nil {
			p.Probe.HTTP.IPv6 = t.GetProtocol() == mesosv1.NetworkInfo_IPv6
		}
	case mesosv1.HealthCheck_TCP:
		t := h.GetTcp()
		p.Probe.TCP, err = &TCP{Port: t.GetPort(), IPv6: t.GetProtocol() == mesosv1.NetworkInfo_IPv6}, port("health_check.tcp", t.GetPort())
	default:
		err = errors.New("health_check.type must be COMMAND, HTTP or TCP")
	}
	return p, errors.Join(err, p.times("health_check", h.GetDelaySeconds(), h.GetIntervalSeconds(), h.GetTimeoutSeconds(), h.GetGracePeriodSeconds()))
}

// OfCheck reads a check. The error names the field that is wrong.
func OfCheck(c *mesosv1.CheckInfo) (Plan, error) {
	var p Plan
	var err error
	switch c.GetType() {
	case mesosv1.CheckInfo_COMMAND:
		p.Probe.Command, err = command("check.command.command", c.GetCommand().GetCommand())
	case mesosv1.CheckInfo_HTTP:
		p.Probe.HTTP, err = page("check.http", "http", c.GetHttp().GetPort(), c.GetHttp().GetPath())
	case mesosv1.CheckInfo_TCP:
		p.Probe.TCP, err = &TCP{Port: c.GetTcp().GetPort()}, port("check.tcp", c.GetTcp().GetPort())
	default:
		err = errors.New("check.type must be COMMAND, HTTP or TCP")
	}
	return p, errors.Join(err, p.times("check", c.GetDelaySeconds(), c.GetIntervalSeconds(), c.GetTimeoutSeconds(), 0))
}

// times reads the four spans; zero values of the protocol have their defaults by now.
func (p *Plan) times(field string, delay, interval, timeout, grace float64) error {
	var errs []error
	for _, t := range []struct {
		name string
		secs float64
		to   *time.Duration
	}{{"delay_seconds", delay, &p.Delay}, {"interval_seconds", interval, &p.Interval}, {"timeout_seconds", timeout, &p.Timeout}, {"grace_period_seconds", grace, &p.Grace}} {
		if t.secs < 0 || math.IsNaN(t.secs) {
			errs = append(errs, fmt.Errorf("%s.%s must not be negative", field, t.name))
			continue
		}
		*t.to = time.Duration(min(t.secs*float64(time.Second), math.MaxInt64/4))
	}
	return errors.Join(errs...)
}

func port(field string, p uint32) error {
	if p == 0 || p > 65535 {
		return fmt.Errorf("%s.port %d must be from 1 to 65535", field, p)
	}
	return nil
}

func page(field, scheme string, n uint32, path string) (*HTTP, error) {
	if scheme == "" {
		scheme = "http"
	}
	switch {
	case scheme != "http" && scheme != "https":
		return nil, fmt.Errorf("%s.scheme %q must be http or https", field, scheme)
	case path != "" && !strings.HasPrefix(path, "/"):
		return nil, fmt.Errorf("%s.path %q must begin with a slash", field, path)
	}
	return &HTTP{Scheme: scheme, Port: n, Path: path}, port(field, n)
}

func command(field string, c *mesosv1.CommandInfo) (*container.Command, error) {
	if c.GetValue() == "" {
		return nil, fmt.Errorf("%s.value must be set", field)
	}
	cmd := &container.Command{Path: c.GetValue(), Args: c.GetArguments()}
	if c.GetShell() {
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", c.GetValue()}
	}
	if len(cmd.Args) == 0 {
		cmd.Args = []string{c.GetValue()}
	}
	for _, v := range c.GetEnvironment().GetVariables() {
		cmd.Env = append(cmd.Env, v.GetName()+"="+mesos.ValueOf(v))
	}
	return cmd, nil
}

// Status is a result in the protocol's form. Without one it is present and empty: "not known yet".
func (p *Plan) Status(r *Result) *mesosv1.CheckStatusInfo {
	known := r != nil && r.Err == ""
	s := new(mesosv1.CheckStatusInfo)
	switch {
	case p.Probe.Command != nil:
		s.Type = mesosv1.CheckInfo_COMMAND.Enum()
		s.Command = new(mesosv1.CheckStatusInfo_Command)
		if known {
			code := int32(r.Code)
			s.Command.ExitCode = &code
		}
	case p.Probe.HTTP != nil:
		s.Type = mesosv1.CheckInfo_HTTP.Enum()
		s.Http = new(mesosv1.CheckStatusInfo_Http)
		if known {
			code := uint32(r.Code)
			s.Http.StatusCode = &code
		}
	case p.Probe.TCP != nil:
		s.Type = mesosv1.CheckInfo_TCP.Enum()
		s.Tcp = new(mesosv1.CheckStatusInfo_Tcp)
		if known {
			ok := r.Code == 0
			s.Tcp.Succeeded = &ok
		}
	}
	return s
}
