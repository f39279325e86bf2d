package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/fault"
)

// Call makes a call of the operator's v1 API and gives the answer, which is empty for calls that have none.
func (o *Operator) Call(ctx context.Context, call *master.Call) (*master.Response, error) {
	body, err := proto.Marshal(call)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", call.GetType(), err)
	}
	response, err := o.masters.do(ctx, func(base *url.URL) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath("/api/v1").String(), bytes.NewReader(body))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-protobuf")
			r.Header.Set("Accept", "application/x-protobuf")
		}
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.GetType(), err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s: the answer broke off: %w", call.GetType(), err)
	}
	answer := &master.Response{}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(b, answer); err != nil {
		return nil, fault.New(fault.Internal, "%s: the answer cannot be read: %w", call.GetType(), err)
	}
	return answer, nil
}
