package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/store"
)

// What one transaction of the embedded etcd may hold. etcd itself takes 128 operations and 1.5 MiB unless told otherwise;
// a master gathers the changes of many messages into one transaction, so that they share one fsync. Beyond this a
// transaction takes so long that those behind it notice, and etcd gives up on one after six seconds.
var embeddedLimits = store.Limits{Ops: 1 << 13, Bytes: 8 << 20}

// quota is how large the database may grow. The memory it takes follows what is used, not this.
const quota = 4 << 30

// Options say how the embedded etcd runs.
type Options struct {
	// Dir is the data directory, made with mode 0700 when it is missing. One process at a time may have it open.
	Dir string
	// ClientURL, when set, is where etcd also serves clients of other processes, such as "http://127.0.0.1:2379". Nobody is
	// asked for credentials there. Empty: no socket is opened at all.
	ClientURL string
	// Log receives etcd's warnings and errors; nil: slog.Default.
	Log *slog.Logger
}

// Open starts etcd in this process on a data directory and waits until it can commit. A directory that another process has
// open is fault.Conflict.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Dir == "" {
		return nil, fault.New(fault.Invalid, "the embedded store needs a data directory")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "making the store's data directory: %w", err)
	}
	unlock, err := lock(o.Dir)
	if err != nil {
		return nil, err
	}
	server, err := start(ctx, o)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("starting the embedded store in %s: %w", o.Dir, err)
	}
	return newStore(v3client.New(server.Server), embeddedLimits, func() error {
		server.Close()
		unlock()
		return nil
	}), nil
}

func start(ctx context.Context, o Options) (*embed.Etcd, error) {
	if err := checkDatabase(o.Dir); err != nil {
		return nil, err
	}
	// While it starts, etcd warns of what is meant: no listener, no tokens, an election asked for early. Later warnings are
	// for the operator. Its infos tell the life of raft, which nobody asks for.
	level := zap.NewAtomicLevelAt(zapcore.ErrorLevel)
	config, err := configure(o, zapTo(o.Log, level))
	if err != nil {
		return nil, err
	}
	if !hasSnapshot(o.Dir) {
		if err := takeSnapshot(ctx, *config); err != nil {
			return nil, err
		}
	}
	server, err := boot(ctx, config, true)
	if err == nil {
		level.SetLevel(zapcore.WarnLevel)
	}
	return server, err
}

// snapshots is where a data directory has the snapshots of the log.
const snapshots = "member/snap/*.snap"

func hasSnapshot(dir string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, filepath.FromSlash(snapshots))) // the pattern is right
	return len(found) > 0
}

// takeSnapshot runs etcd until there is a snapshot of its log, which on a fresh directory takes some milliseconds. A start
// from a snapshot finds the cluster's members in it. Without one they are in the first entries of the log that it replays: an
// election that is asked for meanwhile looks through entries that the server has let go already, and etcd panics.
func takeSnapshot(ctx context.Context, config embed.Config) error {
	_, err := os.Stat(filepath.Join(config.Dir, "member"))
	fresh := errors.Is(err, os.ErrNotExist)
	config.SnapshotCount = 1
	server, err := boot(ctx, &config, fresh)
	if err != nil {
		return err
	}
	defer server.Close()
	ticks := clock.Real()
	for !hasSnapshot(config.Dir) {
		if err := clock.Sleep(ctx, ticks, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// boot starts etcd and waits until it serves; elected says that it shall lead at once.
func boot(ctx context.Context, config *embed.Config, elected bool) (*embed.Etcd, error) {
	server, err := startEtcd(config)
	if err != nil {
		return nil, err
	}
	if elected {
		go elect(server.Server)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err := <-server.Err():
		server.Close()
		return nil, fault.Wrap(fault.Unavailable, err)
	case <-server.Server.StopNotify():
		server.Close()
		return nil, fault.New(fault.Unavailable, "etcd stopped while it started; its log says why")
	case <-ctx.Done():
		server.Server.HardStop()
		server.Close()
		return nil, ctx.Err()
	}
}

// checkDatabase opens the database file once before etcd does, which panics in a goroutine of its own when it cannot.
func checkDatabase(dir string) error {
	name := filepath.Join(dir, "member", "snap", "db")
	if _, err := os.Stat(name); err != nil {
		return nil //nolint:nilerr // a missing file is a fresh directory, and any other trouble is etcd's to tell
	}
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fault.New(fault.Internal, "the database %s cannot be read (%w): put a copy back, or start on an empty directory", name, err)
	}
	return db.Close()
}

// startEtcd starts etcd and turns its panics into errors: it panics where its files cannot be read.
func startEtcd(config *embed.Config) (server *embed.Etcd, err error) {
	defer func() {
		if p := recover(); p != nil {
			server, err = nil, fault.New(fault.Internal, "its files cannot be read (%v): put a copy back, or start on an empty directory", p)
		}
	}()
	if server, err = embed.StartEtcd(config); err != nil {
		return nil, fault.New(fault.Unavailable, "etcd does not start: %w", err)
	}
	return server, nil
}

// elect makes the only member of a cluster its leader at once. Left alone it would wait half a second or more for a leader
// that cannot be there; the message is the one by which an old leader asks its successor not to wait. It is ignored until
// the member has applied who belongs to its cluster, so it is repeated.
func elect(s *etcdserver.EtcdServer) {
	self, ticks := uint64(s.MemberID()), clock.Real()
	for s.Leader() == 0 {
		if s.Process(context.Background(), &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &self, To: &self}) != nil {
			return // it stopped
		}
		timer := ticks.NewTimer(2 * time.Millisecond)
		select {
		case <-timer.C():
		case <-s.StopNotify():
			return
		}
	}
}

// configure sets etcd up as the only member of its cluster. It talks to nobody, so it has no peer listener; the peer URL is
// a name in its database that nothing ever connects to.
func configure(o Options, log *zap.Logger) (*embed.Config, error) {
	c := embed.NewConfig()
	c.Dir = o.Dir
	c.Name = "pando"
	self := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	c.AdvertisePeerUrls = []url.URL{self}
	c.ListenPeerUrls = nil
	c.InitialCluster = c.Name + "=" + self.String()
	c.ListenClientUrls, c.AdvertiseClientUrls = nil, nil
	if o.ClientURL != "" {
		u, err := url.Parse(o.ClientURL)
		if err != nil || u.Scheme != "http" || u.Port() == "" {
			return nil, fault.New(fault.Invalid, "the store's client URL %q is not of the form http://ADDRESS:PORT", o.ClientURL)
		}
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*u}, []url.URL{*u}
	}

	// Ticks cost an idle process, and elect makes the start independent of them. A lease cannot be shorter than one and a
	// half elections.
	c.TickMs, c.ElectionMs = 100, 500

	c.MaxTxnOps = uint(embeddedLimits.Ops)
	c.MaxRequestBytes = uint(embeddedLimits.Bytes + embeddedLimits.Bytes/4) // room for what frames the keys and values
	c.QuotaBackendBytes = quota
	// A start replays up to SnapshotCount entries. They must stay in memory meanwhile: the election that elect asks for looks
	// through those that raft does not know to be applied, and panics where one of them is gone.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 1000, 2000
	// Old revisions serve watchers that lag; nobody lags for minutes.
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, (5 * time.Minute).String()
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	c.EnableGRPCGateway = false
	// A slow commit is no news to people, and etcd would print every key of it.
	c.WarningApplyDuration, c.WarningUnaryRequestDuration = time.Minute, time.Minute
	return c, nil
}

// Dial connects to an etcd cluster that exists and checks that it answers. limits are its --max-txn-ops and
// --max-request-bytes; zeros stand for etcd's own defaults.
func Dial(ctx context.Context, endpoints []string, limits store.Limits, log *slog.Logger) (*Store, error) {
	if limits.Ops == 0 {
		limits.Ops = 128
	}
	if limits.Bytes == 0 {
		limits.Bytes = 1 << 20 // etcd counts 1.5 MiB over the whole request, with its frame
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zapTo(log, zapcore.WarnLevel),
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "etcd at %v: %w", endpoints, err)
	}
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := client.Get(asking, "\x00", clientv3.WithCountOnly()); err != nil {
		_ = client.Close()
		return nil, fault.New(fault.Unavailable, "etcd at %v does not answer; is --store right and etcd running? %w", endpoints, err)
	}
	return newStore(client, limits, func() error { return nil }), nil
}
