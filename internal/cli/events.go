package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
)

func (a *App) eventsCommand() *cobra.Command {
	follow := false
	c := &cobra.Command{
		Use:     "events",
		Short:   "Show what is there as events; with -f, then what happens",
		Long:    "Show every agent, framework and task that is there, a line each, and with -f what happens from then on, until it is\ninterrupted. With -o json each event of the operator's stream is one line of JSON.",
		Example: "  pando events -f\n  pando events -f -o json | jq -c 'select(.type == \"TASK_UPDATED\").task_updated'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			return o.Events(cmd.Context(), func(b []byte) error {
				if err := a.event(b); err != nil {
					return err
				}
				if !follow {
					return client.ErrEventsOver
				}
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	return c
}

// event prints one event of the operator's stream.
func (a *App) event(b []byte) error {
	var out bytes.Buffer
	if a.output == formatJSON {
		out.Write(append(bytes.TrimSpace(b), '\n'))
	} else {
		e := &master.Event{}
		if err := mesos.UnmarshalJSON(b, e); err != nil {
			return fault.New(fault.Invalid, "an event cannot be read: %w", err)
		}
		a.tellEvent(&out, e)
	}
	if _, err := a.Out.Write(out.Bytes()); err != nil {
		return fault.New(fault.Internal, "printing: %w", err)
	}
	return nil
}

// tellEvent writes the lines of an event: time, what, which one, how it is.
func (a *App) tellEvent(w io.Writer, e *master.Event) {
	at := a.Clock.Now().Time().Local().Format("15:04:05")
	line := func(what, which string, how ...string) {
		how = append([]string{fmt.Sprintf("%s  %-18s  %s", at, what, which)}, how...)
		row(w, strings.TrimRight(strings.Join(how, "  "), " "))
	}
	task := func(what string, t *mesosv1.Task) {
		line(what, t.GetFrameworkId().GetValue()+"/"+t.GetTaskId().GetValue(), state(t.GetState().String()), "on "+t.GetAgentId().GetValue())
	}
	framework := func(what string, f *master.Response_GetFrameworks_Framework) {
		how := "connected"
		switch {
		case f.GetRecovered():
			how = "recovered"
		case !f.GetConnected():
			how = "away"
		}
		line(what, f.GetFrameworkInfo().GetId().GetValue(), f.GetFrameworkInfo().GetName(), how)
	}
	agent := func(what string, i *mesosv1.AgentInfo) { line(what, i.GetId().GetValue(), i.GetHostname()) }
	switch e.GetType() {
	case master.Event_SUBSCRIBED:
		s := e.GetSubscribed().GetGetState()
		for _, x := range s.GetGetAgents().GetAgents() {
			agent("agent", x.GetAgentInfo())
		}
		for _, x := range s.GetGetAgents().GetRecoveredAgents() {
			agent("agent recovered", x)
		}
		for _, f := range s.GetGetFrameworks().GetFrameworks() {
			framework("framework", f)
		}
		for _, list := range [][]*mesosv1.Task{s.GetGetTasks().GetTasks(), s.GetGetTasks().GetUnreachableTasks()} {
			for _, t := range list {
				task("task", t)
			}
		}
	case master.Event_TASK_ADDED:
		task("task added", e.GetTaskAdded().GetTask())
	case master.Event_TASK_UPDATED:
		u := e.GetTaskUpdated()
		line("task updated", u.GetFrameworkId().GetValue()+"/"+u.GetStatus().GetTaskId().GetValue(), state(u.GetState().String()), u.GetStatus().GetMessage())
	case master.Event_AGENT_ADDED:
		agent("agent added", e.GetAgentAdded().GetAgent().GetAgentInfo())
	case master.Event_AGENT_REMOVED:
		line("agent removed", e.GetAgentRemoved().GetAgentId().GetValue())
	case master.Event_FRAMEWORK_ADDED:
		framework("framework added", e.GetFrameworkAdded().GetFramework())
	case master.Event_FRAMEWORK_UPDATED:
		framework("framework updated", e.GetFrameworkUpdated().GetFramework())
	case master.Event_FRAMEWORK_REMOVED:
		i := e.GetFrameworkRemoved().GetFrameworkInfo()
		line("framework removed", i.GetId().GetValue(), i.GetName())
	}
}
