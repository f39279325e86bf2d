package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
)

// Agent reads what an agent knows. Its methods may be called from any goroutine.
type Agent struct {
	base *url.URL
	http *http.Client
}

// NewAgent makes a client of the agent at "host:port". A nil client is one that is shared.
func NewAgent(address string, hc *http.Client) (*Agent, error) {
	base, err := baseURL(address)
	if err != nil {
		return nil, err
	}
	if hc == nil {
		hc = shared()
	}
	return &Agent{base, hc}, nil
}

// Get reads any endpoint of the agent, such as "/state", as it is.
func (a *Agent) Get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	response, err := a.open(ctx, path, query)
	if err != nil {
		return nil, err
	}
	return whole(response, path)
}

func (a *Agent) open(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	request, err := get(ctx, a.base, path, query)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	response, err := send(a.http, request)
	if err != nil {
		return nil, fmt.Errorf("GET %s of the agent at %s: %w", path, a.base.Host, err)
	}
	return response, nil
}

// FileInfo describes a file of a sandbox.
type FileInfo struct {
	Path  string  `json:"path"`
	Size  int64   `json:"size"`  // bytes
	MTime float64 `json:"mtime"` // seconds since the epoch
	Mode  string  `json:"mode"`  // as ls -l writes it
	UID   string  `json:"uid"`
	GID   string  `json:"gid"`
	NLink int     `json:"nlink"`
}

// Browse lists a directory, sorted by path.
func (a *Agent) Browse(ctx context.Context, path string) ([]FileInfo, error) {
	b, err := a.Get(ctx, "/files/browse", url.Values{"path": {path}})
	if err != nil {
		return nil, err
	}
	var files []FileInfo
	return files, parse(b, "/files/browse", &files)
}

// Download streams a file; the caller closes it.
func (a *Agent) Download(ctx context.Context, path string) (io.ReadCloser, error) {
	response, err := a.open(ctx, "/files/download", url.Values{"path": {path}})
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Size is a file's length in bytes.
func (a *Agent) Size(ctx context.Context, path string) (int64, error) {
	_, size, err := a.read(ctx, path, -1)
	return size, err
}

// Read reads a piece of a file from an offset, as large as the agent likes; empty at the end.
func (a *Agent) Read(ctx context.Context, path string, offset int64) ([]byte, error) {
	data, _, err := a.read(ctx, path, offset)
	return data, err
}

func (a *Agent) read(ctx context.Context, path string, offset int64) (data []byte, at int64, err error) {
	b, err := a.Get(ctx, "/files/read", url.Values{"path": {path}, "offset": {strconv.FormatInt(offset, 10)}})
	if err != nil {
		return nil, 0, err
	}
	data, at, err = parseRead(b)
	if err != nil {
		return nil, 0, fault.New(fault.Internal, "GET /files/read: the answer cannot be read: %w", err)
	}
	return data, at, nil
}

// The waits between looks at a file that does not grow.
const (
	pollMin = 20 * time.Millisecond
	pollMax = 500 * time.Millisecond
)

// Tail copies a file from an offset to w as it grows, across rotations to path.1, until ended is closed and everything
// written before was copied. A file that is not there yet is waited for; one that never came is no error. An agent that
// does not answer for a while is asked again until ctx ends, or until ended is closed and it still does not.
func (a *Agent) Tail(ctx context.Context, c clock.Clock, path string, offset int64, w io.Writer, ended <-chan struct{}) error {
	wait := pollMin
	for {
		last := closed(ended) // before reading: what is written later does not count
		grew, err := a.advance(ctx, path, &offset, w)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, new(writeError)):
			return err
		case err != nil && last:
			if fault.Is(err, fault.NotFound) {
				return nil
			}
			return err
		case err == nil && grew:
			wait = pollMin
			continue
		case last:
			return nil
		}
		timer := c.NewTimer(wait)
		select {
		case <-timer.C():
		case <-ended:
		case <-ctx.Done():
		}
		timer.Stop()
		wait = min(2*wait, pollMax)
	}
}

// writeError marks an error of the writer, which no other look at the file can cure.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// advance copies the next piece after *offset, if there is one. A file shorter than the offset was rotated: the rest of the
// old one is in path.1.
func (a *Agent) advance(ctx context.Context, path string, offset *int64, w io.Writer) (grew bool, err error) {
	size, err := a.Size(ctx, path)
	if err != nil || size == *offset {
		return false, err
	}
	if size < *offset {
		if err := a.drain(ctx, path+".1", *offset, w); err != nil && !fault.Is(err, fault.NotFound) {
			return false, err
		}
		*offset = 0
		return true, nil
	}
	data, err := a.Read(ctx, path, *offset)
	if err != nil || len(data) == 0 {
		return false, err
	}
	if _, err := w.Write(data); err != nil {
		return false, writeError{err}
	}
	*offset += int64(len(data))
	return true, nil
}

func (a *Agent) drain(ctx context.Context, path string, offset int64, w io.Writer) error {
	for {
		data, err := a.Read(ctx, path, offset)
		if err != nil || len(data) == 0 {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return writeError{err}
		}
		offset += int64(len(data))
	}
}
