package serve

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// pair gives both ends of a connection on loopback.
func pair(t *testing.T, network, addr string) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Skip("no " + network + " here: " + err.Error())
	}
	defer l.Close()
	if client, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestBothTablesOfTheKernelTellTheOwner(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			addr := "127.0.0.1:0"
			if network == "tcp6" {
				addr = "[::1]:0"
			}
			c, _ := pair(t, network, addr)
			local, _ := addrPort(c.LocalAddr())
			remote, _ := addrPort(c.RemoteAddr())
			for name, ask := range map[string]func(a, b netip.AddrPort) (uint32, error){"diag": ownerByDiag, "proc": ownerByProc} {
				uid, err := ask(local, remote)
				if name == "diag" && err != nil {
					t.Logf("sock_diag does not answer here: %v", err)
					continue
				}
				if err != nil || int(uid) != os.Geteuid() {
					t.Errorf("%s: uid %d, %v", name, uid, err)
				}
				if _, err := ask(netip.AddrPortFrom(local.Addr(), 1), remote); err == nil {
					t.Errorf("%s: a connection that does not exist has an owner", name)
				}
			}
		})
	}
}

// A client that is gone must not be taken for root: of a socket without a process the kernel says uid 0.
func TestAClosedEndHasNoOwner(t *testing.T) {
	c, s := pair(t, "tcp4", "127.0.0.1:0")
	local, _ := addrPort(c.LocalAddr())
	remote, _ := addrPort(c.RemoteAddr())
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		uid, err := ownerOf(local, remote)
		if err != nil {
			if !errors.Is(err, errOrphan) {
				t.Logf("the socket is gone: %v", err)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a closed socket is owned by %d", uid)
		}
	}
	if who := lookUp(s); who.Root {
		t.Errorf("the client that is gone is %+v", who)
	}
}
