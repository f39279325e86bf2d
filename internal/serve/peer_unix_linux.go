package serve

import (
	"net"

	"golang.org/x/sys/unix"
)

// ownerOfUnix asks the kernel for the uid of the process that connected to a UNIX socket.
func ownerOfUnix(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var refused error
	err = raw.Control(func(fd uintptr) { cred, refused = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = refused
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
