package image

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/image/failure"
	"github.com/pando-os/pando/internal/image/layer"
	"github.com/pando-os/pando/internal/image/reference"
	"github.com/pando-os/pando/internal/image/registry"
)

// The errors of this package, under the names that its callers know.
type (
	// Kind says what went wrong.
	Kind = failure.Kind
	// Error is a failure about an image.
	Error = failure.Error
)

// Settings are those of a store.
type Settings struct {
	// Dir belongs to the store alone. It is made when it is missing, and only root can look into it: images have set-id programs
	// and devices.
	Dir string
	// DefaultRegistry (HOST or HOST:PORT) completes names without a registry. Empty: such names are for images that are
	// loaded from files, and cannot be pulled.
	DefaultRegistry string
	// Platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, what images must be made for; empty: linux and this machine's.
	Platform string
	// DockerConfig is a config.json with the cluster's credentials. It is kept in memory alone.
	DockerConfig []byte
	// RootCAs, PlainHTTP, Proxy, Stall and Attempts are as in registry.Config.
	RootCAs   *x509.CertPool
	PlainHTTP []string
	Proxy     func(*http.Request) (*url.URL, error)
	Stall     time.Duration
	Attempts  int
	// Downloads and Unpacks bound how many layers do either at once, over all pulls; 0: 3 and 2.
	Downloads, Unpacks int
	// MaxLayerBytes and MaxImageBytes bound what unpacks from one layer and one image; 0: 16 GiB and 32 GiB; negative: no limit.
	MaxLayerBytes, MaxImageBytes int64
	// MaxEntries bounds the files of one layer; 0: 1,000,000; negative: no limit.
	MaxEntries int
	// MaxRatio bounds the unpacked bytes for each packed one of a layer that has more than 64 MiB; 0: 250; negative: no limit.
	MaxRatio int64
	// Clock is the time; nil: the machine's own.
	Clock clock.Clock
	// Log is told of what was damaged and dropped; nil: nobody is.
	Log *slog.Logger
	// Disk gives free and all bytes of the file system that Dir is on; nil: the kernel is asked.
	Disk func(dir string) (free, total uint64, err error)
}

// The defaults of the limits.
const (
	defaultDownloads  = 3
	defaultUnpacks    = 2
	defaultLayerBytes = 16 << 30
	defaultImageBytes = 32 << 30
	defaultEntries    = 1_000_000
	defaultRatio      = 250
)

func (c *Settings) fill() {
	fill(&c.Downloads, defaultDownloads)
	fill(&c.Unpacks, defaultUnpacks)
	fill(&c.MaxLayerBytes, defaultLayerBytes)
	fill(&c.MaxImageBytes, defaultImageBytes)
	fill(&c.MaxEntries, defaultEntries)
	fill(&c.MaxRatio, defaultRatio)
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Disk == nil {
		c.Disk = diskOf
	}
	if c.Platform == "" {
		c.Platform = "linux/" + runtime.GOARCH
	}
}

func fill[T int | int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// limits are what one layer may become.
func (c *Settings) limits() layer.Limits {
	bytes, setting := c.MaxLayerBytes, "MaxLayerBytes"
	if c.MaxImageBytes > 0 && (bytes < 0 || c.MaxImageBytes < bytes) {
		bytes, setting = c.MaxImageBytes, "MaxImageBytes"
	}
	return layer.Limits{Bytes: max(0, bytes), BytesSetting: setting, Entries: max(0, c.MaxEntries), Ratio: max(0, c.MaxRatio)}
}

// Store is the images of one machine. All its methods may be called from any goroutine.
type Store struct {
	cfg         Settings
	platform    v1.Platform
	client      *registry.Client
	credentials *registry.Credentials
	locked      *os.File
	end         context.CancelFunc
	pulls       *flights[string] // give the digest of the image
	layers      *flights[layerFacts]
	downloads   chan struct{}
	unpacks     chan struct{}
	serial      atomic.Uint64 // of names in work and trash
	collecting  sync.Mutex

	mu     sync.Mutex
	images map[string]*stored         // by digest
	names  map[string]string          // reference → digest
	chains map[string]layerFacts      // what is unpacked, by chain id
	pins   map[string]int             // chain ids that running pulls and loads count on
	claims map[string]int             // digests that pulls and loads brought and nobody has taken yet
	holds  map[string]map[string]bool // id → digests
}

// stored is an image in memory. Values of record's slices are replaced, never changed.
type stored struct {
	record
	config    Config
	savedUsed time.Time // LastUsed as it is on the disk
}

// The directories of a store.
const (
	imagesDir = "images" // records
	blobsDir  = "blobs"  // configs, by digest
	layersDir = "layers" // unpacked, by chain id
	workDir   = "work"   // what is on its way; emptied at Open
	trashDir  = "trash"  // what is being removed; emptied at Open
	emptyDir  = "empty"  // the lower directory of an image without layers
)

// Open opens the store in a directory, removes what a crash left behind, and drops what is damaged, saying so. Errors are
// failure.Invalid for a setting, with its name, and InUse when another process has the store open.
func Open(cfg Settings) (*Store, error) {
	cfg.fill()
	if !filepath.IsAbs(cfg.Dir) {
		return nil, failure.New(failure.Invalid, "Dir %q must be an absolute path", cfg.Dir)
	}
	if cfg.DefaultRegistry != "" {
		if err := reference.CheckRegistry(cfg.DefaultRegistry); err != nil {
			return nil, failure.Wrap(failure.Invalid, err, "DefaultRegistry")
		}
	}
	platform, err := v1.ParsePlatform(cfg.Platform)
	if err != nil || platform.OS == "" || platform.Architecture == "" {
		return nil, failure.New(failure.Invalid, "Platform %q must be OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT", cfg.Platform)
	}
	credentials, err := registry.ParseCredentials(cfg.DockerConfig)
	if err != nil {
		return nil, failure.Wrap(failure.Invalid, err, "DockerConfig")
	}
	client, err := registry.New(registry.Config{RootCAs: cfg.RootCAs, PlainHTTP: cfg.PlainHTTP, Proxy: cfg.Proxy, Stall: cfg.Stall, Attempts: cfg.Attempts, Clock: cfg.Clock})
	if err != nil {
		return nil, err
	}
	cfg.DockerConfig = nil
	ctx, end := context.WithCancel(context.Background())
	s := &Store{
		cfg: cfg, platform: *platform, client: client, credentials: credentials, end: end,
		downloads: make(chan struct{}, cfg.Downloads), unpacks: make(chan struct{}, cfg.Unpacks),
		images: map[string]*stored{}, names: map[string]string{}, chains: map[string]layerFacts{}, pins: map[string]int{}, claims: map[string]int{}, holds: map[string]map[string]bool{},
	}
	s.pulls, s.layers = newFlights(ctx, s.unclaim), newFlights[layerFacts](ctx, nil)
	if err := s.prepare(); err != nil {
		end()
		if s.locked != nil {
			s.locked.Close()
		}
		return nil, failure.Wrap(failure.Internal, err, "open the image store %s", cfg.Dir)
	}
	return s, nil
}

// Close ends pulls that are under way and waits for them. What is there stays.
func (s *Store) Close() {
	s.end()
	s.pulls.wait()
	s.layers.wait()
	s.client.Close()
	s.locked.Close()
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, parts...)...)
}

func (s *Store) recordPath(digest string) string {
	return s.path(imagesDir, fileName(digest)+".json")
}
func (s *Store) layerPath(chain string) string { return s.path(layersDir, layerName(chain)) }

// workName is a path below work that nobody else uses.
func (s *Store) workName() string { return s.path(workDir, strconv.FormatUint(s.serial.Add(1), 10)) }

func (s *Store) now() time.Time { return time.Unix(0, s.cfg.Clock.Now().Wall).UTC() }

// prepare makes, locks, cleans and reads the directory.
func (s *Store) prepare() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.locked, err = os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := lock(s.locked); err != nil {
		return failure.New(failure.InUse, "another process has it open: %w; stop that, or use another directory", err)
	}
	for _, d := range []string{workDir, trashDir} {
		if err := os.RemoveAll(s.path(d)); err != nil {
			return err
		}
	}
	for _, d := range []string{imagesDir, blobsDir, layersDir, workDir, trashDir, emptyDir} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(s.path(emptyDir), 0o755); err != nil { // it is the top of a container: whatever the umask
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	return s.dropUnknown()
}

// load reads the records. One that cannot be used is told and removed: its image can be pulled again.
func (s *Store) load() error {
	entries, err := os.ReadDir(s.path(imagesDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := s.path(imagesDir, e.Name())
		st, err := s.read(path)
		if err != nil {
			s.cfg.Log.Warn("the record of an image is damaged and dropped; the image is pulled again when it is wanted", "file", path, "error", err)
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			continue
		}
		s.images[st.Digest] = st
		for _, l := range st.Layers {
			s.chains[l.Chain] = l
		}
	}
	s.settleNames()
	return nil
}

// read reads one record, and sees that what it counts on is there.
func (s *Store) read(path string) (*stored, error) {
	r, err := readRecord(path)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(s.path(blobsDir, fileName(r.Config)))
	if err != nil {
		return nil, err
	}
	if err := verify(r.Config, raw); err != nil {
		return nil, err
	}
	c, err := parseConfig(raw)
	if err != nil {
		return nil, err
	}
	chains, err := chainIDs(c.DiffIDs)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(r.Layers, chains, func(l layerFacts, chain string) bool { return l.Chain == chain }) {
		return nil, errors.New("its layers are not those of its config")
	}
	for _, l := range r.Layers {
		if st, err := os.Lstat(s.layerPath(l.Chain)); err != nil || !st.IsDir() {
			return nil, fmt.Errorf("the layer %s is not there", l.Chain)
		}
	}
	return &stored{record: *r, config: c.Config, savedUsed: r.LastUsed}, nil
}

// settleNames gives each reference to the image that got it last: a crash can leave it with two.
func (s *Store) settleNames() {
	at := map[string]time.Time{}
	for digest, st := range s.images {
		for i, n := range st.References {
			if r, err := reference.Parse(n.Name, ""); err == nil { // it was checked; earlier versions kept short names as they were
				st.References[i].Name = s.name(r)
			}
		}
		for _, n := range st.References {
			if had, ok := s.names[n.Name]; !ok || n.At.After(at[n.Name]) || (n.At.Equal(at[n.Name]) && digest > had) {
				s.names[n.Name], at[n.Name] = digest, n.At
			}
		}
	}
	for digest, st := range s.images {
		st.References = slices.DeleteFunc(st.References, func(n named) bool { return s.names[n.Name] != digest })
	}
}

// dropUnknown removes what no record counts on.
func (s *Store) dropUnknown() error {
	known := map[string]bool{}
	for chain := range s.chains {
		known[filepath.Join(layersDir, layerName(chain))] = true
	}
	for _, st := range s.images {
		known[filepath.Join(blobsDir, fileName(st.Config))] = true
	}
	for _, d := range []string{layersDir, blobsDir} {
		entries, err := os.ReadDir(s.path(d))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if known[filepath.Join(d, e.Name())] {
				continue
			}
			if err := os.RemoveAll(s.path(d, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// verify compares bytes with their digest.
func verify(digest string, raw []byte) error {
	want, err := v1.NewHash(digest)
	if err != nil {
		return failure.New(failure.BadArchive, "%q is no digest", digest)
	}
	h, err := v1.Hasher(want.Algorithm)
	if err != nil {
		return failure.New(failure.BadArchive, "%s", err)
	}
	h.Write(raw)
	if got := fmt.Sprintf("%s:%x", want.Algorithm, h.Sum(nil)); got != digest {
		return failure.New(failure.BadDigest, "it is %s, not %s as it should be", got, digest)
	}
	return nil
}

// Image is an image that is there.
type Image struct {
	// Digest names it: its manifest's, or its config's when an archive came without a manifest.
	Digest string
	// References are the names it is known by, sorted. It has none when its tag moved on to another image.
	References []string
	// Layers counts them.
	Layers int
	// Bytes and Packed are the sizes of all its layers on disk and as they travel. Images share layers.
	Bytes, Packed int64
	// Pulled is when it came, LastUsed when it was asked for, held or released last, to the minute after a restart.
	Pulled, LastUsed time.Time
	// Holders counts the ids that hold it.
	Holders int
	Config  Config
}

// image describes an image; s.mu is held.
func (s *Store) image(st *stored) Image {
	out := Image{Digest: st.Digest, Layers: len(st.Layers), Pulled: st.Pulled, LastUsed: st.LastUsed, Config: st.config.clone()}
	for _, n := range st.References {
		out.References = append(out.References, s.shown(n.Name))
	}
	slices.Sort(out.References)
	for _, l := range st.Layers {
		out.Bytes += l.Bytes
		out.Packed += l.Packed
	}
	for _, held := range s.holds {
		if held[st.Digest] {
			out.Holders++
		}
	}
	return out
}

// find looks an image up by reference or digest; s.mu is held. Nil: it is not there.
func (s *Store) find(ref string) (*stored, error) {
	if reference.IsDigest(ref) {
		return s.images[ref], nil
	}
	r, err := reference.Parse(ref, s.cfg.DefaultRegistry)
	if err != nil {
		return nil, err
	}
	return s.known(r), nil
}

// name is what an image is kept by. Names without a registry are those of Docker's own, as archives of Docker and of others have them
// with and without it; nothing is asked there for that.
func (s *Store) name(r reference.Reference) string {
	if r.Registry == "" {
		r.Registry = reference.Hub
		if !strings.Contains(r.Repository, "/") {
			r.Repository = reference.HubOwn + r.Repository
		}
	}
	return r.String()
}

// shown is such a name as people write it.
func (s *Store) shown(name string) string {
	rest, hub := strings.CutPrefix(name, reference.Hub+"/")
	switch {
	case !hub:
		return name
	case s.cfg.DefaultRegistry != "": // which completes short names
		return "docker.io/" + rest
	}
	return strings.TrimPrefix(rest, reference.HubOwn)
}

// known finds an image by its whole name, or by the digest in it; s.mu is held.
func (s *Store) known(r reference.Reference) *stored {
	if digest, ok := s.names[s.name(r)]; ok {
		return s.images[digest]
	}
	if r.Digest != "" {
		return s.images[r.Digest]
	}
	return nil
}

// Get gives an image by reference or digest, without asking a registry. Errors are NotFound and Invalid.
func (s *Store) Get(ref string) (Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.find(ref)
	if err != nil {
		return Image{}, err
	}
	if st == nil {
		return Image{}, notHere(ref)
	}
	return s.image(st), nil
}

func notHere(ref string) error {
	return failure.About(ref, failure.New(failure.NotFound, "it is not on this machine; pull or load it"))
}

// List gives all images, ordered by their first reference, those without one last.
func (s *Store) List() []Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Image, 0, len(s.images))
	for _, st := range s.images {
		out = append(out, s.image(st))
	}
	key := func(i Image) string {
		if len(i.References) == 0 {
			return "\xff" + i.Digest
		}
		return i.References[0]
	}
	slices.SortFunc(out, func(a, b Image) int { return strings.Compare(key(a), key(b)) })
	return out
}

// Lower gives the directories of an image for an overlay mount, topmost first: one at least. They must not be written to, and stay
// while somebody holds the image. Errors are NotFound and Invalid.
func (s *Store) Lower(ref string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return nil, notHere(ref)
	}
	return s.lower(st.Layers), nil
}

// lower gives the directories of layers, topmost first, down to one that hides the rest.
func (s *Store) lower(layers []layerFacts) []string {
	var out []string
	for _, l := range slices.Backward(layers) {
		out = append(out, s.layerPath(l.Chain))
		if l.Opaque {
			break
		}
	}
	if out == nil {
		out = []string{s.path(emptyDir)}
	}
	return out
}

// usedGrain is how exact the time of the last use is on the disk.
const usedGrain = time.Minute

// touch notes that an image was used; s.mu is held. A record that cannot be written costs no more than its place in the order of
// removal, so that is told and no error.
func (s *Store) touch(st *stored) {
	st.LastUsed = s.now()
	if st.LastUsed.Sub(st.savedUsed) < usedGrain {
		return
	}
	st.savedUsed = st.LastUsed
	if err := s.save(&st.record, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Log.Warn("the last use of an image cannot be noted", "image", st.Digest, "error", err)
	}
}
