// Command empty says what the HTTP server of the standard library takes for requests that nobody looks at: the floor under
// the master's time for a call. It starts itself as a server, sends it acknowledgements over pipelined connections as the
// load client does, and prints the server's processor time for each.
//
//	go run ./bench/empty --requests 600000
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/host"
)

func main() {
	requests := flag.Int("requests", 600_000, "requests in all")
	connections := flag.Int("connections", 4, "connections")
	size := flag.Int("size", 190, "bytes of a body; an acknowledgement in protobuf has so many")
	serve := flag.Bool("serve", false, "be the server")
	flag.Parse()
	var err error
	if *serve {
		err = server()
	} else {
		err = client(*requests, *connections, *size)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// server reads every body and answers 202.
func server() error {
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

func client(requests, connections, size int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, "--serve")
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	defer func() {
		_ = c.Process.Kill() // a server that would serve for ever
		_ = c.Wait()         // it was killed
	}()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	addr = addr[:len(addr)-1]
	request := fmt.Appendf(nil, "POST /api/v1/scheduler HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-protobuf\r\nAccept: application/x-protobuf\r\nMesos-Stream-Id: 00000000-0000-0000-0000-000000000000\r\nContent-Length: %d\r\n\r\n%s",
		addr, size, bytes.Repeat([]byte("x"), size))
	begun, cpu := time.Now(), host.CPUTime(c.Process.Pid)
	var all sync.WaitGroup
	failed := make(chan error, connections)
	for range connections {
		all.Go(func() { failed <- send(addr, request, requests/connections) })
	}
	all.Wait()
	for range connections {
		if err := <-failed; err != nil {
			return err
		}
	}
	took := time.Since(begun)
	used := host.CPUTime(c.Process.Pid) - cpu
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": requests, "per_second": float64(requests) / took.Seconds(), "server_cpu_us_per_request": float64(used.Microseconds()) / float64(requests),
	})
}

// send writes requests a few at a time, as they gather in the load client, and reads the answers.
func send(addr string, request []byte, n int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	const batch = 16
	many := bytes.Repeat(request, batch)
	r := bufio.NewReaderSize(conn, 64<<10)
	for sent := 0; sent < n; sent += batch {
		if _, err := conn.Write(many); err != nil {
			return err
		}
		for range batch {
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
	return nil
}
