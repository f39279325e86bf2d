package resource

import (
	"testing"

	"pgregory.net/rapid"
)

func diskOf(mb Quantity, id string, shared bool, source Source, layers ...Reservation) List {
	t := &Traits{Reservations: layers, Shared: shared}
	if id != "" || source.Kind != RootDisk {
		t.Disk = &Disk{PersistenceID: id, Source: source}
	}
	return New(Resource{Name: "disk", Scalar: mb * One, Traits: t})
}

func TestWhatWasReservedAndMadeComesBackOnWhatTheSettingsSay(t *testing.T) {
	static, dynamic, child := Reservation{Role: "eng"}, Reservation{Dynamic: true, Role: "ops"}, Reservation{Dynamic: true, Role: "eng/web"}
	path := Source{Kind: PathDisk, Root: "/d", HasPlace: true}
	settings := mustParse(t, "cpus:4;mem:100;ports:[1-9]").Plus(diskOf(50, "", false, Source{}, static)).Plus(diskOf(30, "", false, path))
	reserved := settings.ReservedTo("eng")
	for name, kept := range map[string]List{
		"nothing":                              nil,
		"dynamic reservations":                 mustParse(t, "cpus:1;ports:[2-3]").PushReservation(dynamic),
		"one that refines a static one":        reserved.PushReservation(child),
		"a volume on a static reservation":     diskOf(20, "v", false, Source{}, static),
		"a shared volume on a refined one":     diskOf(20, "v", true, Source{}, static, child),
		"a volume of a path":                   diskOf(20, "v", false, path, dynamic),
		"the same id twice, in other roles":    diskOf(20, "v", false, Source{}, static).Plus(diskOf(10, "v", false, path, dynamic)),
		"everything":                           diskOf(50, "v", false, Source{}, static),
		"two layers of which both are dynamic": mustParse(t, "mem:9").PushReservation(Reservation{Dynamic: true, Role: "eng"}).PushReservation(child),
	} {
		t.Run(name, func(t *testing.T) {
			total, err := settings.WithKept(kept)
			if err != nil {
				t.Fatal(err)
			}
			if !total.Kept().Equal(kept) {
				t.Errorf("of %s is kept %s, want %s", total, total.Kept(), kept)
			}
			if !total.Original().Equal(settings) {
				t.Errorf("it was %s before, not %s", total.Original(), settings)
			}
		})
	}
	for name, kept := range map[string]List{
		"more than there is":                mustParse(t, "cpus:5").PushReservation(dynamic),
		"disk that is not reserved so":      diskOf(60, "v", false, Source{}, static),
		"of another path":                   diskOf(20, "v", false, Source{Kind: PathDisk, Root: "/other", HasPlace: true}, dynamic),
		"a static reservation that is gone": diskOf(20, "v", false, Source{}, Reservation{Role: "sales"}),
	} {
		if total, err := settings.WithKept(kept); err == nil {
			t.Errorf("%s: %s", name, total)
		}
	}
}

func TestAChangeAndItsUndoLeaveEverythingAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := mustParseR(t, "cpus:4;mem:100;disk:1000;ports:[1-100]")
		part := New(
			Resource{Name: "cpus", Scalar: Quantity(rapid.IntRange(0, 5000).Draw(t, "cpus"))},
			Resource{Name: "disk", Scalar: Quantity(rapid.IntRange(0, 1_000_000).Draw(t, "disk"))},
		)
		c := Change{part, part.PushReservation(Reservation{Dynamic: true, Role: "r"})}
		changed, err := l.Apply(c)
		if (err == nil) != l.Contains(part) {
			t.Fatalf("%s of %s: %v", part, l, err)
		}
		if err != nil {
			return
		}
		if back, err := changed.Apply(c.Undo()); err != nil || !back.Equal(l) {
			t.Fatalf("%s became %s and then %s, %v", l, changed, back, err)
		}
		if changed.Scalar("disk") != l.Scalar("disk") || changed.Scalar("cpus") != l.Scalar("cpus") {
			t.Fatalf("%s became %s", l, changed)
		}
	})
}

func mustParseR(t *rapid.T, text string) List {
	l, err := Parse(text, "*")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
