package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sockDiagByFamily = 20
	diagRequestSize  = 56 // of struct inet_diag_req_v2
	diagUIDOffset    = 64 // of idiag_uid in struct inet_diag_msg
	diagInodeOffset  = 68 // of idiag_inode
	diagMessageSize  = 72
)

// errOrphan is what becomes of a socket that its process has closed: the kernel then says uid 0, whoever it was.
var errOrphan = errors.New("the other end has been closed already")

// ownerOf asks the kernel for the uid that owns the socket at local which is connected to remote: by netlink (sock_diag),
// or where its module is missing, from /proc/net. The answer counts only when it is of exactly that pair, and of a socket
// that a process still holds.
func ownerOf(local, remote netip.AddrPort) (uint32, error) {
	uid, err := ownerByDiag(local, remote)
	if err != nil && !errors.Is(err, errOrphan) {
		return ownerByProc(local, remote)
	}
	return uid, err
}

func ownerByDiag(local, remote netip.AddrPort) (uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, fmt.Errorf("netlink socket: %w", err)
	}
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(int64(2 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return 0, fmt.Errorf("netlink socket: %w", err)
	}
	// An IPv4 connection is of an AF_INET socket, or of an AF_INET6 one that speaks IPv4.
	families := []byte{unix.AF_INET, unix.AF_INET6}
	if local.Addr().Is6() {
		families = families[1:]
	}
	for _, family := range families {
		uid, err := askOwner(fd, family, local, remote)
		if err == nil {
			return uid, nil
		}
		if !errors.Is(err, unix.ENOENT) {
			return 0, err
		}
	}
	return 0, unix.ENOENT
}

func askOwner(fd int, family byte, local, remote netip.AddrPort) (uint32, error) {
	var req [unix.SizeofNlMsghdr + diagRequestSize]byte
	order := binary.NativeEndian
	order.PutUint32(req[0:], uint32(len(req)))
	order.PutUint16(req[4:], sockDiagByFamily)
	order.PutUint16(req[6:], unix.NLM_F_REQUEST)
	body := req[unix.SizeofNlMsghdr:]
	body[0], body[1] = family, unix.IPPROTO_TCP
	order.PutUint32(body[4:], ^uint32(0)) // any state
	binary.BigEndian.PutUint16(body[8:], local.Port())
	binary.BigEndian.PutUint16(body[10:], remote.Port())
	putAddr(body[12:28], family, local.Addr())
	putAddr(body[28:44], family, remote.Addr())
	order.PutUint64(body[48:], ^uint64(0)) // no cookie
	if err := unix.Sendto(fd, req[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("sock_diag: %w", err)
	}
	var buf [4096]byte
	n, _, err := unix.Recvfrom(fd, buf[:], 0)
	if err != nil {
		return 0, fmt.Errorf("sock_diag: %w", err)
	}
	if n < unix.SizeofNlMsghdr+4 {
		return 0, errors.New("sock_diag: a short answer")
	}
	msg := buf[unix.SizeofNlMsghdr:n]
	if order.Uint16(buf[4:]) == unix.NLMSG_ERROR {
		return 0, fmt.Errorf("sock_diag: %w", unix.Errno(-int32(order.Uint32(msg))))
	}
	if len(msg) < diagMessageSize || binary.BigEndian.Uint16(msg[4:]) != local.Port() || binary.BigEndian.Uint16(msg[6:]) != remote.Port() {
		return 0, unix.ENOENT
	}
	if order.Uint32(msg[diagInodeOffset:]) == 0 {
		return 0, errOrphan
	}
	return order.Uint32(msg[diagUIDOffset:]), nil
}

func putAddr(dst []byte, family byte, a netip.Addr) {
	if family == unix.AF_INET {
		b := a.As4()
		copy(dst, b[:])
		return
	}
	b := a.As16()
	copy(dst, b[:])
}
