//go:build !linux

package shim

import "os"

// Main refuses: containers need Linux so far.
func Main() int { return refuse() }

// Init refuses: containers need Linux so far.
func Init() int { return refuse() }

func refuse() int {
	os.Stderr.WriteString("pando-launcher: supervising containers is not supported on this operating system yet; run agents on Linux\n")
	return 69
}
