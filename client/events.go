package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
)

// ErrEventsOver ends Events without being an error of theirs.
var ErrEventsOver = errors.New("no more events are wanted")

// Events follows the operator's stream of the leading master: the cluster as it is (SUBSCRIBED), and then what happens. Each
// event is an encoded master.Event in JSON, which holds until hear returns. An error of hear ends it and is returned, but for
// ErrEventsOver, which is nil. When the master ends the stream the error is of kind Unavailable.
func (o *Operator) Events(ctx context.Context, hear func(event []byte) error) error {
	response, err := o.masters.do(ctx, func(base *url.URL) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath("/api/v1").String(), strings.NewReader(`{"type":"SUBSCRIBE"}`))
		if err == nil {
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Accept", "application/json")
		}
		return r, err
	})
	if err != nil {
		return fmt.Errorf("following the events: %w", err)
	}
	defer response.Body.Close()
	records := mesos.NewRecordReader(response.Body, maxAnswer)
	for {
		event, err := records.Next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return fault.New(fault.Unavailable, "the master ended the stream of events; follow them anew")
			}
			return fault.New(fault.Unavailable, "the stream of events broke off: %w", err)
		}
		if err := hear(event); errors.Is(err, ErrEventsOver) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
