//go:build !linux

package imaged

import "errors"

func defaultFilter([]string) ([]byte, error) {
	return nil, errors.New("seccomp filters need Linux")
}
