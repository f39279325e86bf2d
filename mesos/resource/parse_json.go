package resource

import (
	"fmt"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/internal/codec"
)

// FromJSON reads a JSON array of Resource objects, in either format.
func FromJSON(text []byte) (l List, allocationRole string, err error) {
	var holder mesosv1.Request
	if err := codec.UnmarshalField(text, &holder, "resources"); err != nil {
		return nil, "", err
	}
	return FromProto(holder.Resources)
}

func parseJSON(text, defaultRole string) (List, error) {
	l, _, err := FromJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("resources: %w", err)
	}
	if defaultRole != "*" {
		free := l.Unreserved()
		l = l.Minus(free).Plus(free.PushReservation(Reservation{Role: defaultRole}))
	}
	return checkKinds(l)
}
