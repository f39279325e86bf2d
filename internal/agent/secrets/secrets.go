// Package secrets finds out the values of tasks' secrets, and keeps those that came with the tasks: in memory that no disk ever
// sees, beside the agent and not in its journal.
package secrets

import (
	"context"
	"errors"
	"fmt"

	"github.com/pando-os/pando/gen/mesosv1"
)

// Resolver finds out the value of a secret. Its errors say no value.
type Resolver interface {
	Resolve(context.Context, *mesosv1.Secret) ([]byte, error)
}

// Values resolves secrets that have their value with them, and no references.
type Values struct{}

// Resolve gives the value.
func (Values) Resolve(_ context.Context, s *mesosv1.Secret) ([]byte, error) {
	switch {
	case s.GetType() == mesosv1.Secret_REFERENCE:
		return nil, fmt.Errorf("the secret %q is a REFERENCE, and this cluster has no store of secrets to look it up in; send its value (type VALUE)", s.GetReference().GetName())
	case s.GetType() == mesosv1.Secret_VALUE && s.Value != nil:
		return s.GetValue().GetData(), nil
	}
	return nil, errors.New("a secret has neither type VALUE with a value nor type REFERENCE; correct it")
}

// Resolve makes every secret of a list one that has its value.
func Resolve(ctx context.Context, r Resolver, list []*mesosv1.Secret) error {
	for _, s := range list {
		b, err := r.Resolve(ctx, s)
		if err != nil {
			return err
		}
		s.Type, s.Reference, s.Value = mesosv1.Secret_VALUE.Enum(), nil, &mesosv1.Secret_Value{Data: b}
	}
	return nil
}
