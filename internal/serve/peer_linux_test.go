package serve_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/pando-os/pando/internal/serve"
)

// asks makes this test's program a client that prints the answer of the address it is given.
const asks = "PANDO_TEST_ASK"

func TestMain(m *testing.M) {
	if addr := os.Getenv(asks); addr != "" {
		resp, err := http.Get("http://" + addr)
		if err == nil {
			_, err = io.Copy(os.Stdout, resp.Body)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var discard = slog.New(slog.DiscardHandler)

// whoami answers with whom the other end belongs to.
func whoami(w http.ResponseWriter, r *http.Request) {
	who := serve.Who(r)
	fmt.Fprintf(w, "root=%v user=%s uid=%d", who.Root, who.User, who.UID)
}

// askAs has a process of another user ask.
func askAs(t *testing.T, addr string, uid uint32) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test's program lies where others may not look; a copy of it is found by its open file.
	f, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Dir = "/"
	cmd.Env = []string{asks + "=" + addr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, NoSetGroups: false}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestTheKernelSaysWhoAsks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as other users")
	}
	for network, addr := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		for _, listens := range []string{network, "tcp"} {
			l, err := net.Listen(listens, addr)
			if err != nil {
				t.Logf("%s cannot be listened on here: %v", addr, err)
				continue
			}
			s := serve.Server(serve.Config{Log: discard}, http.HandlerFunc(whoami))
			go func() { _ = s.Serve(l) }() // until it is closed
			t.Cleanup(func() { _ = s.Close() })
			for uid, want := range map[uint32]string{
				0: "root=true user= uid=0", 1: "root=false user=daemon uid=1", 65534: "root=false user=nobody uid=65534", 4242424: "root=false user=4242424 uid=4242424",
			} {
				if got := askAs(t, l.Addr().String(), uid); got != want {
					t.Errorf("%s, uid %d: %s, want %s", addr, uid, got, want)
				}
			}
		}
	}
}

func TestAnIPv4ClientOfASocketOfIPv6IsKnown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as other users")
	}
	l, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Skipf("there is no IPv6 here: %v", err)
	}
	s := serve.Server(serve.Config{Log: discard}, http.HandlerFunc(whoami))
	go func() { _ = s.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = s.Close() })
	addr := fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
	if got := askAs(t, addr, 1); got != "root=false user=daemon uid=1" {
		t.Error(got)
	}
}

func TestTrustLiftsTheQuestion(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as other users")
	}
	s := listen(t, serve.Config{TrustLoopback: true}, whoami)
	if got := askAs(t, s.Listener.Addr().String(), 1); got != "root=true user= uid=0" {
		t.Error(got)
	}
}

func TestASubjectMayTouchItsOwn(t *testing.T) {
	for _, c := range []struct {
		who  serve.Subject
		user string
		may  bool
	}{
		{serve.Subject{Root: true}, "anybody", true},
		{serve.Subject{Root: true}, "", true},
		{serve.Subject{User: "alice"}, "alice", true},
		{serve.Subject{User: "alice"}, "bob", false},
		{serve.Subject{User: "alice"}, "root", false},
		{serve.Subject{User: "alice"}, "", false},
		{serve.Subject{User: "1000"}, "1000", true},
		{serve.Subject{}, "", false},
		{serve.Subject{}, "root", false},                        // somebody of whom nothing is known
		{serve.Subject{User: "?", UID: ^uint32(0)}, "?", false}, // likewise, as it is shown
	} {
		if got := c.who.May(c.user); got != c.may {
			t.Errorf("%+v may touch what is of %q: %v", c.who, c.user, got)
		}
	}
}
