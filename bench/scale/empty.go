package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/internal/host"
)

// emptyServer is the floor under a master's time for a call: net/http with a handler that reads the body and answers 202.
func emptyServer() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			w.WriteHeader(http.StatusAccepted)
		}
	})}
	return s.Serve(l)
}

// empty sends an empty handler the requests that a load has sent its master: as many, as large, on as many connections,
// as many in a write. It gives the server's processor time.
func empty(ctx context.Context, calls fleet.Calls, contentType string, connections int) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	c := exec.CommandContext(ctx, self, "empty")
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = c.Process.Kill() // a server that would serve for ever
		_ = c.Wait()         // it was killed
	}()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, err
	}
	addr = addr[:len(addr)-1]
	all := calls.Acknowledge.Calls + calls.Accept.Calls + calls.Other.Calls
	together := max(1, int(float64(all)/float64(max(calls.Writes, 1))+0.5))
	cpu := host.CPUTime(c.Process.Pid)
	failed := make(chan error, connections)
	for range connections {
		go func() { failed <- sendAll(addr, requests(calls, contentType, connections), together) }()
	}
	for range connections {
		if e := <-failed; e != nil {
			err = e
		}
	}
	return host.CPUTime(c.Process.Pid) - cpu, err
}

// requests gives one connection's share of the requests, one after the other: every kind evenly spread.
func requests(calls fleet.Calls, contentType string, connections int) func() []byte {
	type kind struct {
		request []byte
		left    int64
		of      int64
	}
	var kinds []*kind
	for _, k := range []fleet.CallCount{calls.Acknowledge, calls.Accept, calls.Other} {
		if n := k.Calls / int64(connections); n > 0 {
			size := int(k.Bytes / k.Calls)
			kinds = append(kinds, &kind{fmt.Appendf(nil,
				"POST /api/v1/scheduler HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nAccept: %s\r\nMesos-Stream-Id: 00000000-0000-0000-0000-000000000000\r\nContent-Length: %d\r\n\r\n%s",
				contentType, contentType, size, bytes.Repeat([]byte("x"), size)), n, n})
		}
	}
	return func() []byte {
		var next *kind // the one of which the largest share is left
		for _, k := range kinds {
			if k.left > 0 && (next == nil || float64(k.left)/float64(k.of) > float64(next.left)/float64(next.of)) {
				next = k
			}
		}
		if next == nil {
			return nil
		}
		next.left--
		return next.request
	}
}

// sendAll writes requests so many together, and reads their answers.
func sendAll(addr string, next func() []byte, together int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	var batch []byte
	for {
		n := 0
		for batch = batch[:0]; n < together; n++ {
			one := next()
			if one == nil {
				break
			}
			batch = append(batch, one...)
		}
		if n == 0 {
			return nil
		}
		if _, err := conn.Write(batch); err != nil {
			return err
		}
		for range n {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return err
			}
			_ = resp.Body.Close() // it is empty
			if resp.StatusCode != http.StatusAccepted {
				return fmt.Errorf("answered %s", resp.Status)
			}
		}
	}
}
