// Package reference reads the names of images: Docker's and OCI's, with a registry, a tag or a digest, and Docker's short
// names, which a default registry completes.
package reference

import (
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/image/failure"
)

// Reference names an image. It is comparable, and equal for every way to write the same name.
type Reference struct {
	// Registry is a host with an optional port; empty for a short name where no default registry is set: such a name can
	// be loaded from an archive, not pulled.
	Registry string
	// Repository is the path at the registry, such as team/app.
	Repository string
	// Tag is what the name ends in after a colon, "latest" when nothing is said; empty when there is a Digest.
	Tag string
	// Digest pins the content (sha256:…); a tag beside it is dropped, as Docker does.
	Digest string
}

// Hub is what the parser calls Docker's own registry, however it was written, and HubOwn begins the repositories there that belong to
// nobody.
const (
	Hub    = "index.docker.io"
	HubOwn = "library/"
)

// maxLength bounds a reference in bytes: 255 for the repository, as the distribution specification suggests, and room for
// a host, a port and a digest.
const maxLength = 768

// The grammar of OCI distribution specification 1.1, "Pulling manifests"; the parser below accepts more than that, such as "..".
var (
	repositories = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tags         = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	hosts        = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)
)

// Parse reads a reference. defaultRegistry (HOST or HOST:PORT) completes names without a registry; it may be empty.
// Errors are failure.Invalid and say which part is wrong.
func Parse(s, defaultRegistry string) (Reference, error) {
	if s == "" {
		return Reference{}, failure.New(failure.Invalid, "the image has no name; write REGISTRY/REPOSITORY:TAG")
	}
	if len(s) > maxLength {
		return Reference{}, failure.New(failure.Invalid, "the image's name has %d bytes, the limit is %d", len(s), maxLength)
	}
	if strings.Contains(s, "://") {
		return Reference{}, failure.New(failure.Invalid, "%q has a scheme; write REGISTRY/REPOSITORY:TAG without one", s)
	}
	if IsDigest(s) {
		return Reference{}, failure.New(failure.Invalid, "%q is a digest alone; write REGISTRY/REPOSITORY@%s", s, s)
	}
	// Without a registry of its own the parser would supply a public one; a name of ours keeps the difference visible.
	supplied := defaultRegistry
	if supplied == "" {
		supplied = nowhere
	} else if err := CheckRegistry(supplied); err != nil {
		return Reference{}, err
	}
	var r Reference
	var repository name.Repository
	if _, digest, pinned := strings.Cut(s, "@"); pinned {
		if !IsDigest(digest) { // what is before the @ is not repeated: people write credentials there
			return Reference{}, failure.New(failure.Invalid, "%.100q after the @ is no digest: it must be sha256: or sha512: and all its lower-case hexadecimal digits", digest)
		}
		d, err := name.NewDigest(s, name.WithDefaultRegistry(supplied))
		if err != nil {
			return Reference{}, unreadable(s, err)
		}
		r.Digest, repository = d.DigestStr(), d.Repository
	} else {
		t, err := name.NewTag(s, name.WithDefaultRegistry(supplied))
		if err != nil {
			return Reference{}, unreadable(s, err)
		}
		r.Tag, repository = t.TagStr(), t.Repository
	}
	r.Registry, r.Repository = repository.RegistryStr(), repository.RepositoryStr()
	if r.Registry == nowhere && !strings.HasPrefix(s, nowhere) {
		r.Registry = ""
	}
	return r, r.check(s)
}

func unreadable(s string, err error) error {
	return failure.New(failure.Invalid, "%.100q is no name of an image (%s); write REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@DIGEST", s, plain(err))
}

// nowhere stands for "no registry" while a name is parsed; the top-level domain is reserved (RFC 2606), so no registry has it.
const nowhere = "nowhere.invalid"

func (r Reference) check(s string) error {
	switch {
	case r.Registry == nowhere:
		return failure.New(failure.Invalid, "no registry can be called %s", nowhere)
	case r.Registry != "" && !hosts.MatchString(r.Registry):
		return failure.New(failure.Invalid, "the registry %q in %q is no HOST or HOST:PORT", r.Registry, s)
	case len(r.Repository) > 255 || !repositories.MatchString(r.Repository):
		return failure.New(failure.Invalid, "the repository %q in %q may have lower-case letters, digits and single separators (. _ - /) between them, 255 bytes at most", r.Repository, s)
	case r.Digest == "" && !tags.MatchString(r.Tag):
		return failure.New(failure.Invalid, "the tag %q in %q may have letters, digits, and after the first _ . -, 128 at most", r.Tag, s)
	}
	return nil
}

// CheckRegistry says what is wrong with the name of a registry: it is a host with a dot, a port, or both, or localhost, since
// otherwise "team/app" would be a registry's too.
func CheckRegistry(host string) error {
	if !hosts.MatchString(host) || (host != "localhost" && !strings.ContainsAny(host, ".:")) {
		return failure.New(failure.Invalid, "the registry %.100q must be HOST or HOST:PORT, with a dot or a port, without a scheme or path", host)
	}
	return nil
}

// IsDigest says whether s is a whole digest of a kind we verify: sha256 or sha512 with all its lower-case digits.
func IsDigest(s string) bool {
	h, err := v1.NewHash(s)
	return err == nil && (h.Algorithm == "sha256" || h.Algorithm == "sha512")
}

// String is the whole name; Parse gives the same Reference for it, whatever the default registry, if it has a registry.
func (r Reference) String() string {
	s := r.Repository
	if r.Registry != "" {
		s = r.Registry + "/" + s
	}
	if r.Digest != "" {
		return s + "@" + r.Digest
	}
	return s + ":" + r.Tag
}

// Identifier is what a registry is asked for: the digest, or the tag.
func (r Reference) Identifier() string {
	if r.Digest != "" {
		return r.Digest
	}
	return r.Tag
}

// plain is an error of the parser in one line of bounded length: it may quote what it was given.
func plain(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
