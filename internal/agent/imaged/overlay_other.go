//go:build !linux

package imaged

import "errors"

func tryOverlay(string) error { return errors.New("overlayfs is Linux'") }
