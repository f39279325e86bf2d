package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap/zapcore"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/store"
	"github.com/pando-os/pando/internal/store/storetest"
)

func TestEmbeddedPassesTheSuite(t *testing.T) {
	t.Parallel()
	server, err := start(context.Background(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	storetest.Run(t, storetest.Subject{
		Open: func(*testing.T) store.Store {
			return newStore(v3client.New(server.Server), embeddedLimits, func() error { return nil })
		},
		Pass: time.Sleep,
	})
}

func TestExistingEtcdPassesTheSuite(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("no etcd in PATH: the test against an etcd of its own needs Debian's etcd-server")
	}
	client, peer := freeAddress(t), freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background()) // the suite's subtests outlive this function
	cmd := exec.CommandContext(ctx, binary, "--data-dir", t.TempDir(), "--name", "own",
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "own=http://"+peer, "--heartbeat-interval", "20", "--election-timeout", "100")
	cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH=arm64")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("etcd's log:\n%s", log.String())
		}
	})
	endpoints, err := Endpoints("etcd://" + client)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, storetest.Subject{
		Open: func(t *testing.T) store.Store {
			t.Helper()
			s, err := Dial(t.Context(), endpoints, store.Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Pass: time.Sleep,
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestASecondOpenNamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := Open(t.Context(), Options{Dir: dir})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestWhatWasCommittedIsThereAfterAReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	revision, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put("k", []byte("v"))}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, dir).Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(store.Pair{Key: "k", Value: []byte("v"), Revision: revision}, got); diff != "" {
		t.Fatal(diff)
	}
}

// TestKilledLeaderIsFollowedAtOnce kills a process that leads, and leads in its place without waiting for its lease.
func TestKilledLeaderIsFollowedAtOnce(t *testing.T) {
	if dir := os.Getenv("PANDO_TEST_LEAD_AND_DIE"); dir != "" {
		leadAndDie(dir)
	}
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestKilledLeaderIsFollowedAtOnce$")
	cmd.Env = append(os.Environ(), "PANDO_TEST_LEAD_AND_DIE="+dir)
	out, err := cmd.CombinedOutput()
	exit, killed := errors.AsType[*exec.ExitError](err)
	if !killed || exit.Exited() {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
	s := open(t, dir)
	old, err := s.Get(t.Context(), "leader")
	if err != nil || string(old.Value) != "dead" {
		t.Fatalf("the dead one's key: %v, %v", old, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the lease has an hour
	defer cancel()
	l, err := store.Campaign(ctx, s, store.Election{Key: "leader", Value: []byte("alive"), Usurp: store.Alone})
	if err != nil {
		t.Fatal(err)
	}
	if l.Epoch() <= old.Revision {
		t.Fatalf("epoch %d after %d", l.Epoch(), old.Revision)
	}
}

func leadAndDie(dir string) {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: dir})
	if err == nil {
		_, err = store.Campaign(ctx, s, store.Election{Key: "leader", Value: []byte("dead"), TTL: time.Hour})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Kill()
	select {}
}

// A start replays what was committed since the last snapshot. It must neither fail nor lose anything, however the election
// that is asked for at once meets the replay: what is replayed has to stay in the log meanwhile.
func TestAStoreWithALongLogStartsAfterEveryKill(t *testing.T) {
	const commits, starts = 900, 25
	if dir := os.Getenv("PANDO_TEST_WRITE_AND_DIE"); dir != "" {
		writeAndDie(dir, commits)
	}
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i := range starts {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestAStoreWithALongLogStartsAfterEveryKill$")
		cmd.Env = append(os.Environ(), "PANDO_TEST_WRITE_AND_DIE="+dir)
		out, err := cmd.CombinedOutput()
		if exit, killed := errors.AsType[*exec.ExitError](err); !killed || exit.Exited() {
			t.Fatalf("start %d: the child was not killed, but ended: %v\n%s", i, err, out)
		}
	}
	s := open(t, dir)
	for _, i := range []int{0, commits / 2, commits - 1} {
		if p, err := s.Get(t.Context(), fmt.Sprint(i)); err != nil || len(p.Value) == 0 {
			t.Errorf("key %d: %v, %v", i, p, err)
		}
	}
}

// writeAndDie commits what is not there yet.
func writeAndDie(dir string, commits int) {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: dir})
	value := make([]byte, 4000)
	for i := 0; err == nil && i < commits; i++ {
		if _, err = s.Get(ctx, fmt.Sprint(i)); fault.Is(err, fault.NotFound) {
			_, err = s.Commit(ctx, store.Txn{Then: []store.Op{store.Put(fmt.Sprint(i), value)}})
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Kill()
	select {}
}

func TestAClientURLServesOtherProcesses(t *testing.T) {
	address := freeAddress(t)
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), ClientURL: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	other, err := Dial(t.Context(), []string{address}, s.Limits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put("k", []byte("v"))}}); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Get(t.Context(), "k"); err != nil || string(p.Value) != "v" {
		t.Fatalf("got %v, %v", p, err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"no directory":                  {},
		"the directory is a file":       {Dir: file},
		"the client URL is no URL":      {Dir: t.TempDir(), ClientURL: "2379"},
		"the client URL is without TLS": {Dir: t.TempDir(), ClientURL: "https://127.0.0.1:2379"},
	} {
		if s, err := Open(t.Context(), o); err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

func TestFilesThatCannotBeReadAreAnError(t *testing.T) {
	for _, damaged := range []string{"member/snap/db", "member/wal"} {
		t.Run(damaged, func(t *testing.T) {
			dir := t.TempDir()
			if err := open(t, dir).Close(); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(dir, damaged)
			if damaged == "member/wal" {
				logs, err := filepath.Glob(filepath.Join(name, "*-*.wal"))
				if err != nil || len(logs) != 1 {
					t.Fatal(logs, err)
				}
				name = logs[0]
			}
			if err := os.WriteFile(name, bytes.Repeat([]byte("damaged "), 10000), 0o600); err != nil {
				t.Fatal(err)
			}
			quiet := slog.New(slog.DiscardHandler)
			s, err := Open(t.Context(), Options{Dir: dir, Log: quiet})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("the directory is not named: %v", err)
			}
			if _, err := Open(t.Context(), Options{Dir: dir, Log: quiet}); fault.Is(err, fault.Conflict) {
				t.Errorf("the failed start kept the lock: %v", err)
			}
		})
	}
}

func TestEndpointsOfAnAddress(t *testing.T) {
	for address, want := range map[string][]string{
		"etcd://a:1":            {"a:1"},
		"etcd://a,b:2, c":       {"a:2379", "b:2", "c:2379"},
		"etcd://[::1]:7,[fe::]": {"[::1]:7", "[fe::]:2379"},
		"etcd://":               nil,
		"etcd://a/b":            nil,
		"etcd://user@a":         nil,
		"zk://a:2181":           nil,
	} {
		got, err := Endpoints(address)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%s: %v, %s", address, err, diff)
		}
	}
}

func TestEtcdWarnsIntoOurLogAlone(t *testing.T) {
	var out bytes.Buffer
	log := zapTo(slog.New(slog.NewJSONHandler(&out, nil)), zapcore.WarnLevel)
	log.Info("raft gossip")
	log.With().Warn("slow disk")
	if got := out.String(); strings.Contains(got, "gossip") || !strings.Contains(got, `"level":"WARN","msg":"slow disk"`) {
		t.Fatalf("got %s", got)
	}
}

func BenchmarkStartToFirstCommit(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		b.StartTimer()
		s, err := Open(b.Context(), Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Commit(b.Context(), store.Txn{Then: []store.Op{store.Put("k", nil)}}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = s.Close()
		b.StartTimer()
	}
}
