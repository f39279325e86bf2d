package layer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pando-os/pando/internal/image/failure"
)

// maxWindow bounds the memory that a zstd layer may ask for: 128 MiB is what the zstd program itself accepts by default.
const maxWindow = 128 << 20

// stream is the uncompressed archive, bounded and hashed as it is read. It belongs to one goroutine.
type stream struct {
	ctx     context.Context //nolint:containedctx // a stream is one call's
	limits  Limits
	packed  counter
	from    io.Reader
	release func()
	sum     hash.Hash
	read    int64
}

// counter counts what the decompressor took.
type counter struct {
	from io.Reader
	n    int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// openStream finds out how an archive is packed by its first bytes: media types are often wrong.
func openStream(ctx context.Context, packed io.Reader, limits Limits) (*stream, error) {
	s := &stream{ctx: ctx, limits: limits, packed: counter{from: packed}, release: func() {}, sum: sha256.New()}
	buffered := bufio.NewReaderSize(&s.packed, 256<<10)
	head, err := buffered.Peek(6)
	if err != nil && err != io.EOF {
		return nil, classify(err)
	}
	switch magic := string(head); {
	case len(magic) > 1 && magic[:2] == "\x1f\x8b":
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, failure.New(failure.BadArchive, "the layer is no gzip: %v", err)
		}
		s.from, s.release = z, func() { _ = z.Close() }
	case len(magic) > 3 && magic[:4] == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, failure.New(failure.BadArchive, "the layer is no zstd: %v", err)
		}
		s.from, s.release = z, z.Close
	case len(magic) > 2 && magic[:3] == "BZh", magic == "\xfd7zXZ\x00":
		return nil, failure.New(failure.BadArchive, "the layer is packed with bzip2 or xz; push the image again with gzip or zstd")
	default:
		s.from = buffered
	}
	return s, nil
}

// Read gives the next bytes, or the reason why there may be no more.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.from.Read(p)
	s.sum.Write(p[:n])
	s.read += int64(n)
	if limit := s.limits.Bytes; limit > 0 && s.read > limit {
		return 0, tooLong(s.limits)
	}
	if limit := s.limits.Ratio; limit > 0 && s.read > ratioFrom && s.read/limit > s.packed.n {
		return 0, failure.New(failure.TooLarge, "the layer unpacks to more than %d times its packed size, as bombs do; raise the image store's limit MaxRatio if it is meant", limit)
	}
	if err != nil && !errors.Is(err, io.EOF) && s.ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", errArchive, err)
	}
	return n, err
}

func tooLong(l Limits) error {
	return failure.New(failure.TooLarge, "the layer unpacks to more than %d bytes, the image store's limit %s; raise it, or make the layer smaller", l.Bytes, l.BytesSetting)
}

// Open gives the bytes of something that may be packed with gzip or zstd, within limits. Closing it leaves packed open.
func Open(ctx context.Context, packed io.Reader, limits Limits) (io.ReadCloser, error) {
	return openStream(ctx, packed, limits)
}

// drain reads what follows the archive's end, within the limits.
func (s *stream) drain() error {
	_, err := io.Copy(io.Discard, s)
	return err
}

func (s *stream) digest() string { return "sha256:" + hex.EncodeToString(s.sum.Sum(nil)) }

// Close gives back the memory of the decompressor; its error is always nil.
func (s *stream) Close() error {
	s.release()
	return nil
}
