// Command install puts a command under an encoded seccomp program, as the launcher does: install PROGRAM COMMAND [ARGUMENT…]
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/seccomp/filter"
)

func main() {
	runtime.LockOSThread()
	raw, err := os.ReadFile(os.Args[1])
	check(err)
	program, err := filter.Decode(raw)
	check(err)
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	check(filter.Install(program))
	check(syscall.Exec(os.Args[2], os.Args[2:], os.Environ()))
}

func check(err error) {
	if err != nil {
		fmt.Println("install:", err)
		os.Exit(1)
	}
}
