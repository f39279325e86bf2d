//go:build !unix

package diskwatch

import (
	"context"
	"errors"
)

func usage(context.Context, string) (int64, error) {
	return 0, errors.New("the disk that files take is only known on Unix")
}
