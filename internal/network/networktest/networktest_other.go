//go:build !linux

// Package networktest gives tests machines of their own, where there is Linux.
package networktest

import (
	"os"
	"testing"
)

// Main runs the tests.
func Main(m *testing.M) { os.Exit(m.Run()) }
