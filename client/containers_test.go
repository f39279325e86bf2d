package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/mesos"
)

func TestAnInputSendsHeartbeatsWhileNothingIsWritten(t *testing.T) {
	for name, json := range map[string]bool{"JSON": true, "protobuf": false} {
		t.Run(name, func(t *testing.T) {
			var c *Containers
			came := make(chan *agent.Call_AttachContainerInput, 10)
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(came)
				for records := mesos.NewRecordReader(r.Body, maxIO); ; {
					b, err := records.Next()
					if errors.Is(err, io.EOF) {
						return
					}
					call := &agent.Call{}
					if err == nil {
						err = c.decode(b, call)
					}
					if err != nil {
						t.Error(err)
						return
					}
					came <- call.GetAttachContainerInput()
				}
			}))
			defer server.Close()
			a, err := NewAgent(server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			c = a.Containers()
			now := clock.NewFake(time.Unix(1_700_000_000, 0))
			c.JSON, c.clock = json, now
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			comes := func(want *agent.Call_AttachContainerInput) {
				t.Helper()
				select {
				case got := <-came:
					if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
						t.Errorf("the agent heard: (-want +got)\n%s", diff)
					}
				case <-ctx.Done():
					t.Fatalf("the agent did not hear %v", want)
				}
			}
			says := func(p *agent.ProcessIO) {
				t.Helper()
				comes(&agent.Call_AttachContainerInput{Type: agent.Call_AttachContainerInput_PROCESS_IO.Enum(), ProcessIo: p})
			}
			id := &mesosv1.ContainerID{Value: new("it")}
			in := c.AttachInput(ctx, id)
			comes(&agent.Call_AttachContainerInput{Type: agent.Call_AttachContainerInput_CONTAINER_ID.Enum(), ContainerId: id})
			advance := func(d time.Duration) { // and lets what came due be done
				t.Helper()
				err := now.Await(ctx, 1)
				now.Advance(d)
				if err = errors.Join(err, now.Await(ctx, 1)); err != nil {
					t.Fatal(err)
				}
			}
			advance(inputBeat - 1) // too early for one
			if _, err := in.Write([]byte("typed")); err != nil {
				t.Fatal(err)
			}
			says(&agent.ProcessIO{Type: agent.ProcessIO_DATA.Enum(), Data: &agent.ProcessIO_Data{Type: agent.ProcessIO_Data_STDIN.Enum(), Data: []byte("typed")}})
			for _, d := range []time.Duration{1, inputBeat, inputBeat} {
				advance(d)
				says(&agent.ProcessIO{Type: agent.ProcessIO_CONTROL.Enum(), Control: &agent.ProcessIO_Control{
					Type:      agent.ProcessIO_Control_HEARTBEAT.Enum(),
					Heartbeat: &agent.ProcessIO_Control_Heartbeat{Interval: &mesosv1.DurationInfo{Nanoseconds: new(int64(30 * time.Second))}},
				}})
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			if more, ok := <-came; ok {
				t.Errorf("after the end there came %v", more)
			}
		})
	}
}
