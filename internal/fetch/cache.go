package fetch

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Cache keeps downloads for as long as there is room, the least recently used going first. Requests for the same thing at
// the same time share one download. It does not outlive the process: NewCache empties the directory.
type Cache struct {
	dir string
	max int64

	mu      sync.Mutex
	serial  uint64
	used    int64 // bytes, those still coming included
	entries map[string]*entry
	order   *list.List // of complete entries, most recently used first
}

type entry struct {
	key, path string
	size      int64
	place     *list.Element // nil while it is coming
	done      chan struct{}
	err       error
}

// errNoRoom: what is too big to be kept is fetched without a cache.
var errNoRoom = errors.New("the fetcher's cache has no room for it")

// NewCache keeps up to limit bytes in dir, which belongs to it alone and is emptied.
func NewCache(dir string, limit int64) (*Cache, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty the fetcher's cache: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the fetcher's cache: %w", err)
	}
	return &Cache{dir: dir, max: limit, entries: map[string]*entry{}, order: list.New()}, nil
}

// Size gives the bytes that are used and the bytes there may be.
func (c *Cache) Size() (used, limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used, c.max
}

// get opens what is kept under key, and has it fetched when there is nothing. The file stays readable when the entry is
// evicted meanwhile.
func (c *Cache) get(ctx context.Context, key string, fetch func(context.Context) (io.ReadCloser, error)) (*os.File, error) {
	for {
		c.mu.Lock()
		e := c.entries[key]
		if e == nil {
			c.serial++
			e = &entry{key: key, path: filepath.Join(c.dir, strconv.FormatUint(c.serial, 10)), done: make(chan struct{})}
			c.entries[key] = e
			c.mu.Unlock()
			c.fill(ctx, e, fetch)
			if e.err != nil {
				return nil, e.err
			}
			continue
		}
		if e.place != nil {
			c.order.MoveToFront(e.place)
			f, err := os.Open(e.path)
			c.mu.Unlock()
			return f, err
		}
		c.mu.Unlock()
		select {
		case <-e.done:
			// Whoever fetched it may have been cancelled; that is not our failure, so ask again.
			if e.err != nil && !errors.Is(e.err, context.Canceled) && !errors.Is(e.err, context.DeadlineExceeded) {
				return nil, e.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fill downloads an entry, or removes it with the reason in err.
func (c *Cache) fill(ctx context.Context, e *entry, fetch func(context.Context) (io.ReadCloser, error)) {
	e.err = c.store(ctx, e, fetch)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.err != nil {
		delete(c.entries, e.key)
		c.used -= e.size
		_ = os.Remove(e.path) // the cache begins empty; until then it costs room on the disk only
	} else {
		e.place = c.order.PushFront(e)
	}
	close(e.done)
}

func (c *Cache) store(ctx context.Context, e *entry, fetch func(context.Context) (io.ReadCloser, error)) error {
	src, err := fetch(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	file, err := os.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, readerFunc(func(p []byte) (int, error) {
		n, err := src.Read(p)
		if n > 0 && !c.reserve(e, int64(n)) {
			return 0, errNoRoom
		}
		return n, err
	}))
	return errors.Join(err, file.Close())
}

// reserve accounts for n more bytes of an entry and evicts others for them; false when that cannot make room.
func (c *Cache) reserve(e *entry, n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.used+n > c.max {
		last := c.order.Back()
		if last == nil {
			return false
		}
		old := last.Value.(*entry)
		c.order.Remove(last)
		delete(c.entries, old.key)
		c.used -= old.size
		_ = os.Remove(old.path) // as above
	}
	c.used += n
	e.size += n
	return true
}
