package shim

import (
	"github.com/pando-os/pando/internal/agent/container/wire"
	"github.com/pando-os/pando/internal/seccomp/filter"
)

// install puts a seccomp filter before this thread's system calls. It needs no_new_privs, or CAP_SYS_ADMIN.
func install(encoded []byte) *failure {
	if len(encoded) == 0 {
		return nil
	}
	p, err := filter.Decode(encoded)
	if err == nil {
		err = filter.Install(p)
	}
	if err != nil {
		return fail(wire.KindCaps, "install the seccomp filter", err)
	}
	return nil
}
