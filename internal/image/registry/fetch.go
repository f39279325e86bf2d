package registry

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/image/failure"
)

// MaxDocument bounds manifests, indexes and configs in bytes; registries themselves take no longer ones.
const MaxDocument = 4 << 20

// accepts are the documents that can be read, the ones with several platforms first.
var accepts = strings.Join([]string{
	string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}, ", ")

// Document is a manifest or an index as it came.
type Document struct {
	Raw    []byte
	Digest v1.Hash
	// MediaType is what the registry called it.
	MediaType string
}

// Resolve asks for the digest of a tag without the document. A registry that does not say it gives an empty one.
func (r *Repository) Resolve(ctx context.Context, tag string) (v1.Hash, error) {
	var out v1.Hash
	err := r.client.retry(ctx, func() error {
		ctx, w := r.client.watch(ctx)
		defer w.stop()
		resp, err := r.do(ctx, http.MethodHead, "manifests/"+tag, nil)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if h, err := v1.NewHash(resp.Header.Get("Docker-Content-Digest")); err == nil {
			out = h
		}
		return nil
	})
	return out, err
}

// Manifest fetches a manifest or an index by tag or digest, and verifies the digest.
func (r *Repository) Manifest(ctx context.Context, identifier string) (Document, error) {
	var out Document
	err := r.client.retry(ctx, func() error {
		ctx, w := r.client.watch(ctx)
		defer w.stop()
		resp, err := r.do(ctx, http.MethodGet, "manifests/"+identifier, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(w.reader(resp.Body), MaxDocument+1))
		if err != nil {
			return r.cut(ctx, err)
		}
		if len(raw) > MaxDocument {
			return failure.New(failure.TooLarge, "the manifest has more than %d bytes, which no registry should give", MaxDocument)
		}
		out = Document{Raw: raw, MediaType: resp.Header.Get("Content-Type")}
		return out.verify(identifier, resp.Header.Get("Docker-Content-Digest"))
	})
	return out, err
}

// verify computes the digest of a document, with the algorithm that it was asked with, and compares.
func (d *Document) verify(identifier, said string) error {
	want, err := v1.NewHash(identifier)
	if err != nil { // a tag; the registry says what it stands for
		if want, err = v1.NewHash(said); err != nil {
			d.Digest, _, err = v1.SHA256(bytes.NewReader(d.Raw))
			return err
		}
	}
	got, err := hashOf(want.Algorithm, d.Raw)
	if err != nil {
		return err
	}
	if got != want {
		return failure.New(failure.BadDigest, "the manifest is %s, not %s as it should be; the registry, or something before it, gives wrong bytes", got, want)
	}
	d.Digest = got
	return nil
}

func hashOf(algorithm string, raw []byte) (v1.Hash, error) {
	h, err := v1.Hasher(algorithm)
	if err != nil {
		return v1.Hash{}, failure.New(failure.Invalid, "%s", err)
	}
	h.Write(raw)
	return sum(algorithm, h), nil
}

func sum(algorithm string, h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: algorithm, Hex: hex.EncodeToString(h.Sum(nil))}
}

// do sends a request to the repository and turns what is no success into an error.
func (r *Repository) do(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	u := url.URL{Scheme: r.scheme, Host: r.registry, Path: "/v2/" + r.path + "/" + path}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, failure.New(failure.Invalid, "the registry %s: %s", r.registry, err)
	}
	if header != nil {
		req.Header = header
	}
	if strings.HasPrefix(path, "manifests/") {
		req.Header.Set("Accept", accepts)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		return nil, r.explain(ctx, err)
	}
	return resp, nil
}

// cut explains a body that ended before it should.
func (r *Repository) cut(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		return cause
	}
	return passing{failure.New(failure.Unreachable, "the registry %s broke off a transfer: %s; try again", r.registry, r.hush(err.Error()))}
}

// Blob fetches a blob into an empty file, resuming it where it was cut off, and verifies size and digest. progress is told of
// every byte that came, and may be nil. On failure the file has some of the bytes.
func (r *Repository) Blob(ctx context.Context, d v1.Descriptor, into *os.File, progress func(n int64)) error {
	h, err := v1.Hasher(d.Digest.Algorithm)
	if err != nil {
		return failure.New(failure.Invalid, "the blob %s: %s", d.Digest, err)
	}
	b := &blob{Repository: r, want: d, into: into, sum: h, progress: progress}
	pause, failed := firstPause, 0
	for b.have < d.Size || b.rounds == 0 {
		had := b.have
		err := b.some(ctx)
		if err == nil {
			break
		}
		if b.have > had {
			pause, failed = firstPause, 0
		}
		// Each round that counts brings a byte or is one of few, but a registry that gives a byte at a time is not worth it.
		if failed++; failed >= r.client.cfg.Attempts || b.rounds >= maxRounds || !passes(err) {
			return err
		}
		if err := clock.Sleep(ctx, r.client.cfg.Clock, pause); err != nil {
			return err
		}
		pause *= 2
	}
	if got := sum(d.Digest.Algorithm, b.sum); got != d.Digest {
		return failure.New(failure.BadDigest, "the blob is %s, not %s as it should be; the registry, or something before it, gives wrong bytes", got, d.Digest)
	}
	return nil
}

// maxRounds bounds how often one blob is resumed in all.
const maxRounds = 100

// blob is one on its way.
type blob struct {
	*Repository
	want     v1.Descriptor
	into     *os.File
	sum      hash.Hash
	have     int64
	rounds   int
	progress func(int64)
}

// some fetches what is missing, or as much of it as comes.
func (b *blob) some(ctx context.Context) error {
	b.rounds++
	ctx, w := b.client.watch(ctx)
	defer w.stop()
	header := http.Header{}
	if b.have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.have, b.want.Size-1))
	}
	resp, err := b.do(ctx, http.MethodGet, "blobs/"+b.want.Digest.String(), header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := b.place(resp); err != nil {
		return err
	}
	// One byte more than there should be is asked for, to notice.
	from := io.LimitReader(w.reader(resp.Body), b.want.Size-b.have+1)
	n, err := io.Copy(io.MultiWriter(b.into, b.sum), from)
	b.have += n
	if b.progress != nil {
		b.progress(n)
	}
	switch {
	case b.have > b.want.Size:
		return failure.New(failure.BadDigest, "the blob %s is longer than the %d bytes that the manifest says", b.want.Digest, b.want.Size)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return failure.New(failure.TooLarge, "keep the blob %s: the disk is full: %w; free some of it, or remove images", b.want.Digest, err)
	case err != nil && isWrite(err):
		return failure.New(failure.Internal, "keep the blob %s: %w", b.want.Digest, err)
	case err == nil && b.have < b.want.Size:
		return b.cut(ctx, io.ErrUnexpectedEOF)
	case err != nil && b.have < b.want.Size:
		return b.cut(ctx, err)
	}
	return nil
}

// place sees that what comes goes on where the file ends. A registry that does not know ranges sends all from the start.
func (b *blob) place(resp *http.Response) error {
	if b.have == 0 {
		return nil
	}
	if resp.StatusCode == http.StatusPartialContent {
		var from int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &from); err == nil && from == b.have {
			return nil
		}
		return failure.New(failure.BadDigest, "the registry %s resumes a transfer at another place (%s) than it was asked to", b.registry, b.hush(resp.Header.Get("Content-Range")))
	}
	if _, err := b.into.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("start the blob again: %w", err)
	}
	if err := b.into.Truncate(0); err != nil {
		return fmt.Errorf("start the blob again: %w", err)
	}
	b.have = 0
	b.sum.Reset()
	return nil
}

// isWrite says whether a copy failed at our own file.
func isWrite(err error) bool {
	_, ok := errors.AsType[*os.PathError](err)
	return ok
}
