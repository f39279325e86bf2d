package image

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/image/failure"
)

// family is images that share layers in several ways.
type family struct {
	hub    *hub
	refs   []string
	layers [][]int // of each image, bottom first
	digest []string
	size   []int64 // of each layer
}

func newFamily(tb testing.TB) *family {
	tb.Helper()
	f := &family{hub: newHub(tb), layers: [][]int{{0}, {0, 1}, {0, 1, 2}, {0, 3}, {4}, {4, 1}}}
	layers := make([]v1.Layer, 5)
	for i := range layers {
		name := strings.Repeat("x", i+1) + fmt.Sprint(i)
		layers[i], f.size = layerOf(tb, files(tb, name)), append(f.size, int64(len(name)))
	}
	for i, l := range f.layers {
		var own []v1.Layer
		for _, n := range l {
			own = append(own, layers[n])
		}
		img := build(tb, own...)
		ref := fmt.Sprintf("app%d:1", i)
		f.hub.push(tb, ref, img)
		f.refs, f.digest = append(f.refs, ref), append(f.digest, digestOf(tb, img))
	}
	return f
}

// used gives the bytes of all layers that images have, each counted once: a layer is the same on the same layers alone.
func (f *family) used(images map[int]bool) int64 {
	seen := map[string]int64{}
	for i := range images {
		key := ""
		for _, l := range f.layers[i] {
			key += fmt.Sprint(l, " ")
			seen[key] = f.size[l]
		}
	}
	var sum int64
	for _, s := range seen {
		sum += s
	}
	return sum
}

// onDisk gives the bytes of the layers that are in their place.
func onDisk(s *Store) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum int64
	for _, l := range s.chains {
		sum += l.Bytes
	}
	return sum
}

func chainsOf(s *Store) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.chains))
}

// small makes the store believe in a disk of a hundred bytes.
func small(s **Store) func(*Settings) {
	return func(cfg *Settings) {
		cfg.Disk = func(string) (uint64, uint64, error) { return uint64(100 - onDisk(*s)), 100, nil }
	}
}

func TestWhatIsHeldIsNeverTakenAndTheRestByAge(t *testing.T) {
	f := newFamily(t)
	var round atomic.Int32
	rapid.Check(t, func(rt *rapid.T) {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(round.Add(1)))
		c := &stopped{clock.Real(), time.Unix(1_700_000_000, 0).UTC()}
		var s *Store
		restart := func() {
			if s != nil {
				s.Close()
			}
			s = must(Open(Settings{Dir: dir, PlainHTTP: []string{f.hub.host}, DefaultRegistry: f.hub.host, Clock: c, Disk: func(string) (uint64, uint64, error) { return uint64(100 - onDisk(s)), 100, nil }}))
		}
		restart()
		defer func() { s.Close() }()
		m := model{f: f, there: map[int]bool{}, used: map[int]time.Time{}, holds: map[string]map[int]bool{}}
		image := rapid.IntRange(0, len(f.refs)-1)
		holder := rapid.SampledFrom([]string{"a", "b", "c"})
		rt.Repeat(map[string]func(*rapid.T){
			"pull": func(rt *rapid.T) {
				i := image.Draw(rt, "image")
				if _, err := s.Pull(t.Context(), f.refs[i], PullOptions{}); err != nil {
					rt.Fatal(err)
				}
				m.there[i], m.used[i] = true, c.wall
			},
			"hold": func(rt *rapid.T) {
				i, id := image.Draw(rt, "image"), holder.Draw(rt, "id")
				_, err := s.Hold(id, f.refs[i])
				if m.there[i] != (err == nil) {
					rt.Fatalf("hold %d: %v", i, err)
				}
				if err == nil {
					m.hold(id, i)
					m.used[i] = c.wall
				}
			},
			"release": func(rt *rapid.T) {
				id := holder.Draw(rt, "id")
				s.Release(id)
				for i := range m.holds[id] {
					m.used[i] = c.wall
				}
				delete(m.holds, id)
			},
			"remove": func(rt *rapid.T) {
				i := image.Draw(rt, "image")
				err := s.Remove(f.refs[i])
				switch {
				case !m.there[i] && !failure.Is(err, failure.NotFound), m.there[i] && m.held(i) != failure.Is(err, failure.InUse), m.there[i] && !m.held(i) && err != nil:
					rt.Fatalf("remove %d: %v", i, err)
				case err == nil:
					delete(m.there, i)
				}
			},
			"collect": func(rt *rapid.T) {
				headroom := float64(rapid.IntRange(0, 100).Draw(rt, "headroom")) / 100
				keep := rapid.SliceOfN(image, 0, 2).Draw(rt, "keep")
				got, err := s.Collect(headroom, refsOf(f, keep)...)
				if err != nil {
					rt.Fatal(err)
				}
				removed, enough := m.collect(headroom, keep)
				if diff := cmp.Diff(removed, digests(got.Removed)); diff != "" || got.Enough != enough {
					rt.Fatalf("collected %s enough %t, want %t", diff, got.Enough, enough)
				}
			},
			"prune": func(rt *rapid.T) {
				keep := rapid.SliceOfN(image, 0, 2).Draw(rt, "keep")
				got, err := s.Prune(refsOf(f, keep)...)
				if err != nil {
					rt.Fatal(err)
				}
				if diff := cmp.Diff(m.prune(keep), digests(got)); diff != "" {
					rt.Fatal(diff)
				}
			},
			"restart": func(rt *rapid.T) {
				restart()
				for id, images := range m.holds {
					for i := range images {
						if _, err := s.Hold(id, f.digest[i]); err != nil {
							rt.Fatal(err)
						}
						m.used[i] = c.wall
					}
				}
			},
			"": func(rt *rapid.T) {
				c.wall = c.wall.Add(2 * time.Minute)
				m.check(t, rt, s)
			},
		})
	})
}

// model is what the store should be.
type model struct {
	f     *family
	there map[int]bool
	used  map[int]time.Time
	holds map[string]map[int]bool
}

func (m *model) hold(id string, i int) {
	if m.holds[id] == nil {
		m.holds[id] = map[int]bool{}
	}
	m.holds[id][i] = true
}

func (m *model) held(i int) bool {
	for _, h := range m.holds {
		if h[i] {
			return true
		}
	}
	return false
}

// oldest gives the image to remove next, or -1.
func (m *model) oldest(keep []int) int {
	best := -1
	for i := range m.there {
		if m.held(i) || slices.Contains(keep, i) {
			continue
		}
		if best < 0 || m.used[i].Before(m.used[best]) || (m.used[i].Equal(m.used[best]) && m.f.digest[i] < m.f.digest[best]) {
			best = i
		}
	}
	return best
}

func (m *model) collect(headroom float64, keep []int) (removed []string, enough bool) {
	for {
		if float64(100-m.f.used(m.there)) >= headroom*100 {
			return removed, true
		}
		i := m.oldest(keep)
		if i < 0 {
			return removed, false
		}
		delete(m.there, i)
		removed = append(removed, m.f.digest[i])
	}
}

func (m *model) prune(keep []int) (removed []string) {
	for i := m.oldest(keep); i >= 0; i = m.oldest(keep) {
		delete(m.there, i)
		removed = append(removed, m.f.digest[i])
	}
	return removed
}

func (m *model) check(t *testing.T, rt *rapid.T, s *Store) {
	t.Helper()
	want, got := []string(nil), []string(nil)
	for i := range m.there {
		want = append(want, m.f.digest[i])
		lower, err := s.Lower(m.f.refs[i])
		if err != nil {
			rt.Fatal(err)
		}
		if n := len(contentsOf(t, lower...)); n != len(m.f.layers[i]) {
			rt.Fatalf("image %d has %d files", i, n)
		}
	}
	for _, img := range s.List() {
		got = append(got, img.Digest)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatal(diff)
	}
	if left := leftovers(t, s); left != nil {
		rt.Fatal(left)
	}
	if got, want := onDisk(s), m.f.used(m.there); got != want {
		rt.Fatalf("%d bytes on the disk, want %d", got, want)
	}
}

func refsOf(f *family, images []int) []string {
	var out []string
	for _, i := range images {
		out = append(out, f.refs[i])
	}
	return out
}

func digests(removed []Removed) []string {
	var out []string
	for _, r := range removed {
		out = append(out, r.Digest)
	}
	return out
}

// Many pull, hold, read, release and remove at the same time: whoever holds an image has all its files until it lets go.
func TestWhatIsHeldStaysWhileOthersCollect(t *testing.T) {
	f := newFamily(t)
	var s *Store
	s = open(t, t.TempDir(), f.hub, small(&s))
	stop := make(chan struct{})
	var holders, collectors sync.WaitGroup
	for n := range 6 {
		holders.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 1))
			for round := range 25 {
				i, id := rnd.IntN(len(f.refs)), fmt.Sprint(n)
				img, err := s.Pull(t.Context(), f.refs[i], PullOptions{Hold: id, Force: round%5 == 0})
				if err != nil {
					t.Error(err)
					return
				}
				lower, err := s.Lower(img.Digest)
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					if got := len(contentsOf(t, lower...)); got != len(f.layers[i]) {
						t.Errorf("a held image has %d files of %d", got, len(f.layers[i]))
					}
				}
				s.Release(id)
			}
		})
	}
	for n := range 3 {
		collectors.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var err error
				switch n {
				case 0:
					_, err = s.Collect(1)
				case 1:
					_, err = s.Prune(f.refs[0])
				case 2:
					if err = s.Remove(f.refs[1]); failure.Is(err, failure.InUse) || failure.Is(err, failure.NotFound) {
						err = nil
					}
					s.List()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	holders.Wait()
	close(stop)
	collectors.Wait()
	if left := leftovers(t, s); left != nil {
		t.Error(left)
	}
}

func TestARunningPullKeepsTheLayersItCountsOn(t *testing.T) {
	f := newFamily(t)
	s := open(t, t.TempDir(), f.hub)
	if _, err := s.Pull(t.Context(), f.refs[1], PullOptions{}); err != nil {
		t.Fatal(err)
	}
	at, let := make(chan struct{}), make(chan struct{})
	f.hub.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "app2/blobs") {
			select {
			case at <- struct{}{}:
			case <-let:
			}
			<-let
		}
		next.ServeHTTP(w, r)
	})
	done := make(chan error)
	go func() { _, err := s.Pull(t.Context(), f.refs[2], PullOptions{Hold: "c"}); done <- err }()
	<-at // the config
	let <- struct{}{}
	<-at // the third layer; the two below are app1's
	if err := s.Remove(f.refs[1]); err != nil {
		t.Error(err)
	}
	if _, err := s.Prune(); err != nil {
		t.Error(err)
	}
	close(let)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, s); left != nil {
		t.Error(left)
	}
}

func TestLayersOfABrokenOffPullServeTheNextOneOrGoFirst(t *testing.T) {
	f := newFamily(t)
	var s *Store
	s = open(t, t.TempDir(), f.hub, small(&s))
	pull := func() error { _, err := s.Pull(t.Context(), f.refs[2], PullOptions{}); return err }
	// The config and the bottom layer come; the others fail once that one is in its place.
	bottom := must(must(build(t, layerOf(t, files(t, "x0"))).Layers())[0].Digest()).String()
	var configs atomic.Int32
	broken := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") && !strings.HasSuffix(r.URL.Path, bottom) && configs.Add(1) > 1 {
			for len(chainsOf(s)) == 0 {
				time.Sleep(time.Millisecond)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	}
	f.hub.answer(broken)
	if err := pull(); !failure.Is(err, failure.Unreachable) {
		t.Fatal(err)
	}
	if n := onDisk(s); n == 0 {
		t.Error("nothing is left for the next try")
	}
	if got, err := s.Collect(1); err != nil || len(got.Removed) != 0 || !got.Enough || onDisk(s) != 0 {
		t.Errorf("%+v, %v, %d bytes", got, err, onDisk(s))
	}
	configs.Store(0)
	f.hub.answer(broken)
	_ = pull()
	if len(chainsOf(s)) == 0 {
		t.Fatal("nothing is left for the next try")
	}
	f.hub.answer(nil)
	if err := pull(); err != nil {
		t.Fatal(err)
	}
	// Requests of the broken-off pull may still come in; none of them is for the bottom layer.
	if got := f.hub.asked(bottom); len(got) != 0 {
		t.Errorf("a layer that was there was fetched again: %q", got)
	}
}

func TestRemoveTakesAReferenceAndWithTheLastOneTheImage(t *testing.T) {
	h := newHub(t)
	img := build(t, layerOf(t, files(t, "a")))
	h.push(t, "app:1", img)
	h.push(t, "app:2", img)
	dir := t.TempDir()
	s := open(t, dir, h)
	for _, ref := range []string{"app:1", "app:2"} {
		if _, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Hold("c", "app:1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("app:1"); err != nil {
		t.Errorf("one of two references: %v", err)
	}
	s.Close()
	s = open(t, dir, h)
	if _, err := s.Hold("c", digestOf(t, img)); err != nil {
		t.Fatal(err)
	}
	if got := s.List(); len(got) != 1 || cmp.Diff([]string{h.ref("app:2")}, got[0].References) != "" || got[0].Holders != 1 {
		t.Errorf("%+v", got)
	}
	for _, ref := range []string{"app:2", digestOf(t, img)} {
		if err := s.Remove(ref); !failure.Is(err, failure.InUse) || !strings.Contains(err.Error(), "1 container") {
			t.Errorf("%s is held: %v", ref, err)
		}
	}
	s.Release("c")
	s.Release("c")
	if err := s.Remove("app:2"); err != nil {
		t.Error(err)
	}
	if left := leftovers(t, s); left != nil || len(s.List()) != 0 {
		t.Error(left, s.List())
	}
	if err := s.Remove("app:2"); !failure.Is(err, failure.NotFound) {
		t.Error(err)
	}
}

func TestCollectRefusesWhatItCannotRead(t *testing.T) {
	f := newFamily(t)
	s := open(t, t.TempDir(), f.hub)
	if _, err := s.Pull(t.Context(), f.refs[0], PullOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, headroom := range []float64{-0.1, 1.1, math.NaN()} {
		if _, err := s.Collect(headroom); !failure.Is(err, failure.Invalid) {
			t.Errorf("%v: %v", headroom, err)
		}
	}
	if _, err := s.Collect(1, "Bad"); !failure.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "keep[0]") {
		t.Error(err)
	}
	if _, err := s.Prune("Bad"); !failure.Is(err, failure.Invalid) {
		t.Error(err)
	}
	if got, err := s.Collect(0); err != nil || !got.Enough || len(got.Removed) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.Collect(1, f.refs[0]); err != nil || got.Enough || len(got.Removed) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Hold("", f.refs[0]); !failure.Is(err, failure.Invalid) {
		t.Error(err)
	}
}
