package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// line is a connection to a program.
type line struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*line, error) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return nil, err
	}
	return &line{c, bufio.NewReader(c)}, nil
}

// say sends something, whose answer is to come soon.
func (l *line) say(b []byte) error {
	err := l.SetDeadline(time.Now().Add(5 * time.Second))
	if err == nil {
		_, err = l.Write(b)
	}
	return err
}

// program is one of Debian's as people make an image of it, and how to speak to it.
type program struct {
	name, pkg string
	inner     uint32 // the port at which it listens, if nobody says another
	stop      string // the image's stop signal
	bye       string // what it says when that comes
	entry     string // the image's entry point
	inside    string // a command beside it that gives the value of "first"
	hello     func(*line) error
	put       func(l *line, key, value string) error
	get       func(l *line, key string) (string, error)
}

// Each entry point gives the data to the program's user and becomes him, as those of the images that everybody uses do, unless the
// task names a user.
var programs = []*program{
	{
		name: "nginx", pkg: "nginx", inner: 80, stop: "SIGQUIT", bye: "gracefully shutting down", hello: func(*line) error { return nil }, put: httpPut, get: httpGet,
		entry: `temp=$(mktemp -d)
[ $(id -u) != 0 ] || { chown www-data: $temp ${DATA:=/data}; user='user www-data;'; }
cat >$temp/nginx.conf <<END
$user
daemon off;
pid $temp/pid;
error_log /dev/stderr notice;
events {}
http {
  access_log /dev/stdout;
  keepalive_timeout 1h;
  client_body_temp_path $temp/body; proxy_temp_path $temp/proxy; fastcgi_temp_path $temp/fastcgi; uwsgi_temp_path $temp/uwsgi; scgi_temp_path $temp/scgi;
  server { listen ${PORT:-80}; root $DATA; dav_methods PUT; }
}
END
exec nginx -c $temp/nginx.conf`,
		inside: `cat ${DATA:-/data}/first`,
	},
	{
		name: "redis", pkg: "redis-server", inner: 6379, stop: "SIGTERM", bye: "Received SIGTERM", hello: redisHello, put: redisPut, get: redisGet,
		entry: `[ $(id -u) != 0 ] || { chown redis: ${DATA:=/data}; as="setpriv --reuid=redis --regid=redis --init-groups"; }
exec $as redis-server --dir $DATA --port ${PORT:-6379} --bind 0.0.0.0 --protected-mode no --appendonly yes`,
		inside: `redis-cli -p ${PORT:-6379} get first`,
	},
	{
		name: "postgresql", pkg: "postgresql", inner: 5432, stop: "SIGINT", bye: "received fast shutdown request", hello: sqlHello, put: sqlPut, get: sqlGet,
		entry: `PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
[ $(id -u) != 0 ] || { chown postgres: ${DATA:=/data}; as="setpriv --reuid=postgres --regid=postgres --init-groups"; }
if [ ! -e $DATA/db/PG_VERSION ]; then
  $as initdb --auth=trust --username=postgres -D $DATA/db >/dev/null
  echo "host all all all trust" >>$DATA/db/pg_hba.conf
fi
exec $as postgres -D $DATA/db -k /tmp -p ${PORT:-5432} -c listen_addresses='*'`,
		inside: `export PGHOST=/tmp PGPORT=${PORT:-5432}; pg_isready -q && psql -U postgres -Atc "SELECT v FROM kept WHERE k = 'first'"`,
	},
}

func request(l *line, r *http.Request) (string, error) {
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return "", err
	}
	if err := l.say(b.Bytes()); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(l.r, r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return string(body), err
}

func httpPut(l *line, key, value string) error {
	r, err := http.NewRequest(http.MethodPut, "http://nginx.test/"+key, strings.NewReader(value))
	if err == nil {
		_, err = request(l, r)
	}
	return err
}

func httpGet(l *line, key string) (string, error) {
	r, err := http.NewRequest(http.MethodGet, "http://nginx.test/"+key, nil)
	if err != nil {
		return "", err
	}
	return request(l, r)
}

// redisCall sends a command and gives its answer, a line or a string with its length before it.
func redisCall(l *line, words ...string) (string, error) {
	b := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(w), w)
	}
	if err := l.say(b); err != nil {
		return "", err
	}
	s, err := l.r.ReadString('\n')
	if s = strings.TrimSpace(s); err != nil || !strings.HasPrefix(s, "$") {
		return s, err
	}
	size, err := strconv.Atoi(s[1:])
	if err != nil || size < 0 {
		return "", fmt.Errorf("there is nothing: %s, %w", s, err)
	}
	body := make([]byte, size+2)
	_, err = io.ReadFull(l.r, body)
	return string(body[:size]), err
}

// redisAsk sends a command that has one answer when it goes well.
func redisAsk(l *line, want string, words ...string) error {
	got, err := redisCall(l, words...)
	if err == nil && got != want {
		err = fmt.Errorf("%s: %s", words[0], got)
	}
	return err
}

func redisHello(l *line) error { return redisAsk(l, "+PONG", "PING") }

func redisPut(l *line, key, value string) error { return redisAsk(l, "+OK", "SET", key, value) }

func redisGet(l *line, key string) (string, error) { return redisCall(l, "GET", key) }

// sqlAnswer reads messages until the server waits for the next query, and gives the first value of the first row.
func sqlAnswer(l *line) (value string, err error) {
	for {
		var head [5]byte
		if _, rerr := io.ReadFull(l.r, head[:]); rerr != nil {
			return "", errors.Join(err, rerr)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, rerr := io.ReadFull(l.r, body); rerr != nil {
			return "", errors.Join(err, rerr)
		}
		switch head[0] {
		case 'Z':
			return value, err
		case 'E':
			err = errors.Join(err, fmt.Errorf("%q", body))
		case 'D': // how many columns, the length of the first, the first
			value = string(body[6 : 6+binary.BigEndian.Uint32(body[2:])])
		}
	}
}

func sqlHello(l *line) error {
	b := []byte("\x00\x03\x00\x00user\x00postgres\x00\x00")
	if err := l.say(append(binary.BigEndian.AppendUint32(nil, uint32(len(b)+4)), b...)); err != nil {
		return err
	}
	_, err := sqlAnswer(l)
	return err
}

func sqlQuery(l *line, query string) (string, error) {
	if err := l.say(append(binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(len(query)+5)), query+"\x00"...)); err != nil {
		return "", err
	}
	return sqlAnswer(l)
}

func sqlPut(l *line, key, value string) error {
	_, err := sqlQuery(l, fmt.Sprintf("CREATE TABLE IF NOT EXISTS kept (k text PRIMARY KEY, v text); INSERT INTO kept VALUES ('%s', '%s')", key, value))
	return err
}

func sqlGet(l *line, key string) (string, error) {
	return sqlQuery(l, fmt.Sprintf("SELECT v FROM kept WHERE k = '%s'", key))
}

// layersIn is where the layers are, for a test that runs again in a network of its own.
const layersIn = "PANDO_TEST_E2E_LAYERS"

// debianLayers gives the directory of layers that are made of Debian's packages; the first time takes a minute or two.
func debianLayers(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(layersIn); dir != "" {
		return dir
	}
	for _, p := range []string{"mmdebstrap", "apt-get", "unshare", "setpriv"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIP: images are made of Debian's packages, which needs %s", p)
		}
	}
	cmd := exec.CommandContext(t.Context(), "../../tools/images")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() == 3 {
		t.Skip("SKIP: images are made of Debian's packages, of which apt has no sources here")
	}
	must(t, err)
	dir := strings.TrimSpace(string(out))
	t.Setenv(layersIn, dir)
	return dir
}

// realShelf is a registry of Debian's, which keeps what it is given beside the layers for the next time.
type realShelf struct {
	*shelf
	layers string
	base   v1.Layer // of all images
}

func newRealShelf(t *testing.T, layers string) *realShelf {
	t.Helper()
	base, err := tarball.LayerFromFile(filepath.Join(layers, "base.tar.gz"))
	must(t, err)
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Log("Debian's docker-registry is missing: a registry in this process will do")
		return &realShelf{newShelf(t), layers, base}
	}
	host := freeAddr(t)
	config := fresh()
	must(t, os.WriteFile(config, fmt.Appendf(nil, "version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(layers, "registry"), host), 0o600))
	cmd := exec.Command(path, "serve", config)
	out := record(fresh())
	log, err := os.Create(string(out))
	must(t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	eventually(t, "the registry to answer", func() error {
		if _, err := says(t, "http://"+host+"/v2/"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return &realShelf{&shelf{t: t, host: host}, layers, base}
}

// pushProgram makes the image of a program, of the base, its packages and its entry point, and gives its name.
func (s *realShelf) pushProgram(p *program) string {
	s.t.Helper()
	packages, err := tarball.LayerFromFile(filepath.Join(s.layers, p.pkg+".tar.gz"))
	must(s.t, err)
	entry := layerOf(s.t, file{name: "entry", content: "#!/bin/sh -e\n" + p.entry + "\n", mode: 0o755})
	config := v1.Config{Entrypoint: []string{"/entry"}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, StopSignal: p.stop}
	return s.pushOf(p.name+":1", config, s.base, packages, entry)
}
