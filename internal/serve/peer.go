package serve

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"sync"
)

type peerKey struct{}

// peer is the other end of a connection. It is looked up once, when first asked for.
type peer struct {
	conn  net.Conn
	trust bool
	once  sync.Once
	who   Subject
}

// Subject is who makes a request.
type Subject struct {
	// Root may do everything: the system's root, or anybody where loopback is trusted or cannot be told apart.
	Root bool
	// User is the owner of the other end of a loopback connection, by name; empty for Root.
	User string
	UID  uint32
}

// May says whether the subject may touch what belongs to a user.
func (s Subject) May(user string) bool {
	return s.Root || s.User != "" && s.UID != unknown && s.User == user
}

// unknown is the number of a subject that the kernel did not name; it is nobody's.
const unknown = ^uint32(0)

// Who says who makes a request. On loopback the kernel knows the owner of the other socket. Where it does not say, the
// subject has no name and may nothing that belongs to somebody.
func Who(r *http.Request) Subject { return WhoIn(r.Context()) }

// WhoIn is Who by a request's context.
func WhoIn(ctx context.Context) Subject {
	p, _ := ctx.Value(peerKey{}).(*peer)
	return p.subject()
}

func (p *peer) subject() Subject {
	if p == nil || p.trust {
		return Subject{Root: true}
	}
	p.once.Do(func() { p.who = lookUp(p.conn) })
	return p.who
}

// lookUp asks the kernel. A connection that is not on loopback is let through: binding there takes authentication, or the
// word that none is wanted.
func lookUp(c net.Conn) Subject {
	if u, ok := c.(*net.UnixConn); ok {
		return subjectOf(ownerOfUnix(u))
	}
	local, ok1 := addrPort(c.LocalAddr())
	remote, ok2 := addrPort(c.RemoteAddr())
	if !ok1 || !ok2 || !local.Addr().IsLoopback() && local.Addr() != remote.Addr() {
		return Subject{Root: true}
	}
	return subjectOf(ownerOf(remote, local))
}

// subjectOf is who has a uid, if the kernel gave one.
func subjectOf(uid uint32, err error) Subject {
	if err != nil {
		return Subject{User: "?", UID: unknown}
	}
	if uid == 0 || int64(uid) == int64(os.Geteuid()) { // the owner of this very process may do what it may
		return Subject{Root: true}
	}
	name := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return Subject{User: name, UID: uid}
}

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port()), true
}
