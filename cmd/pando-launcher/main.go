// Command pando-launcher is the parent and the first process of containers. It is tiny because it is executed once per
// container, and the start of a big Go program costs tens of milliseconds; so it links neither fmt nor json nor net.
//
//	pando-launcher shim    supervises a group of containers; fd 3 is its listening socket, its directory is the working one
//	pando-launcher init    becomes a container's command; fd 3 is the shim
package main

import (
	"os"
	"runtime"

	"github.com/pando-os/pando/internal/agent/container/shim"
)

// main keeps its goroutine on the main thread: a child's parent-death signal watches the thread that forked it, and the
// main thread is the only one that lives as long as the process.
func main() {
	runtime.LockOSThread()
	role := ""
	if len(os.Args) == 2 {
		role = os.Args[1]
	}
	switch role {
	case "shim":
		os.Exit(shim.Main())
	case "init":
		os.Exit(shim.Init())
	}
	_, _ = os.Stderr.WriteString("pando-launcher is started by the agent: pando-launcher shim|init\n") // there is nobody else to tell
	os.Exit(64)
}
