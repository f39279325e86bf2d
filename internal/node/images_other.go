//go:build !linux

package node

func imagesWork() bool { return false }
