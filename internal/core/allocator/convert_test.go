package allocator

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pando-os/pando/mesos/resource"
)

// reserved is a list with one more dynamic reservation.
func reserved(l resource.List, role string) resource.List {
	return l.PushReservation(resource.Reservation{Dynamic: true, Role: role})
}

// volume is reserved disk that is a persistent volume.
func volume(role, id string, mb resource.Quantity, shared bool) resource.List {
	return resource.New(resource.Resource{Name: "disk", Scalar: mb * resource.One, Traits: &resource.Traits{
		Reservations: []resource.Reservation{{Dynamic: true, Role: role}}, Disk: &resource.Disk{PersistenceID: id}, Shared: shared,
	}})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatAFrameworkReservedIsOfferedToItsRoleAndThoseBelowAlone(t *testing.T) {
	for _, c := range []struct {
		role string
		gets bool
	}{{"eng", true}, {"eng/web", true}, {"engine", false}, {"sales", false}, {"*", false}} {
		t.Run(c.role, func(t *testing.T) {
			a := hall(t, Config{}, 1, "cpus:4;mem:1024")
			join(a, "F1", "eng")
			a.Cycle(0, nil)
			part := list(t, "cpus:4;mem:1000")
			must(t, a.Convert("S00", "F1", "eng", resource.Change{Consumed: part, Converted: reserved(part, "eng")}))
			a.Release("S00", "F1", "eng", reserved(part, "eng").Plus(list(t, "mem:24")), 0)
			a.RemoveFramework("F1")
			join(a, "F2", c.role)
			var had resource.List
			for _, g := range a.Cycle(time.Second, nil) {
				had = had.Plus(g.Resources)
			}
			if got := had.Contains(reserved(part, "eng")); got != c.gets {
				t.Errorf("a framework in %q is offered %s", c.role, had)
			}
			must(t, a.Audit(map[string]map[Seat]resource.List{"S00": {{"F2", c.role}: had}}))
		})
	}
}

func TestWhatIsReservedCountsForTheShareOfWhoHasIt(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:8;mem:8192")
	join(a, "F1", "one")
	a.Cycle(0, nil)
	all := list(t, "cpus:8;mem:8192")
	part := list(t, "cpus:4;mem:4096")
	must(t, a.Convert("S00", "F1", "one", resource.Change{Consumed: part, Converted: reserved(part, "one")}))
	if s := a.Share("one"); s != 1 {
		t.Errorf("it holds everything, half of it reserved, and its share is %v", s)
	}
	a.Release("S00", "F1", "one", reserved(part, "one"), 0)
	if s := a.Share("one"); s != 0.5 {
		t.Errorf("it gave back what is reserved, and its share is %v", s)
	}
	a.Release("S00", "F1", "one", all.Minus(part), 0)
	join(a, "F2", "two")
	a.Hold("S00", "F1", "one", reserved(list(t, "cpus:1;mem:1024"), "one")) // a task on what is reserved
	if g := a.Cycle(time.Second, nil); len(g) != 2 || g[0].Framework != "F2" {
		t.Errorf("the other has nothing and is next; %v", g)
	}
}

func TestASharedVolumeIsOfferedToSeveralAndStaysFree(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024;disk:100")
	join(a, "F1", "eng")
	join(a, "F2", "eng")
	g := a.Cycle(0, nil)
	if len(g) != 1 {
		t.Fatal(g)
	}
	v := volume("eng", "v", 10, true)
	must(t, a.Convert("S00", g[0].Framework, "eng", resource.Change{Consumed: list(t, "disk:10"), Converted: v}))
	a.Release("S00", g[0].Framework, "eng", list(t, "cpus:2;mem:512;disk:90"), 0)
	second := a.Cycle(0, nil)
	a.Release("S00", g[0].Framework, "eng", list(t, "cpus:2;mem:512"), 0)
	third := a.Cycle(0, nil)
	for i, g := range [][]Grant{second, third} {
		if len(g) != 1 || !g[0].Resources.Contains(v) {
			t.Errorf("offer %d lacks the shared volume: %v", i, g)
		}
	}
	if second[0].Framework == third[0].Framework {
		t.Errorf("both offers are %s's", second[0].Framework)
	}
	a.Release("S00", third[0].Framework, "eng", third[0].Resources, 0)
	join(a, "F3", "eng")
	a.UpdateFramework(Framework{ID: "F3", Roles: []string{"eng"}})
	a.SetFrameworkActive("F1", false)
	a.SetFrameworkActive("F2", false)
	if g := a.Cycle(0, nil); len(g) != 1 || g[0].Resources.Contains(v) {
		t.Errorf("one that knows of no shared resources is offered %v", g)
	}
}

func TestInACycleAnAgentsSharedVolumesAreLentOnce(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024;disk:100")
	join(a, "F1", "eng")
	a.Cycle(0, nil)
	must(t, a.Convert("S00", "F1", "eng", resource.Change{Consumed: list(t, "disk:100"), Converted: volume("eng", "v", 100, true)}))
	a.Revive("F1", nil)
	join(a, "F2", "eng")
	if g := a.Cycle(0, nil); len(g) != 1 || g[0].Resources.String() != volume("eng", "v", 100, true).String() {
		t.Errorf("without a least amount the volume alone is an offer, once: %v", g)
	}
}

func TestAChangeOfWhatIsNotThereIsRefused(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "eng")
	a.Cycle(0, nil)
	part := list(t, "cpus:1")
	ch := resource.Change{Consumed: part, Converted: reserved(part, "eng")}
	for name, err := range map[string]error{
		"who holds nothing":  a.Convert("S00", "F2", "eng", ch),
		"in another role":    a.Convert("S00", "F1", "dev", ch),
		"of another agent":   a.Convert("S99", "F1", "eng", ch),
		"more than there is": a.Convert("S00", "F1", "eng", resource.Change{Consumed: list(t, "cpus:5"), Converted: reserved(list(t, "cpus:5"), "eng")}),
		"nothing is free":    a.ConvertFree("S00", ch),
		"an unknown agent":   a.ConvertFree("S99", ch),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	a.Release("S00", "F1", "eng", list(t, "cpus:4;mem:1024"), 0)
	must(t, a.ConvertFree("S00", ch))
	if want := list(t, "cpus:3;mem:1024").Plus(reserved(part, "eng")); !a.Free("S00").Equal(want) {
		t.Errorf("%s are free, want %s", a.Free("S00"), want)
	}
	must(t, a.ConvertFree("S00", ch.Undo()))
	must(t, a.Audit(nil))
}

func TestNoStrangerIsEverOfferedAReservation(t *testing.T) {
	roles := []string{"eng", "eng/web", "ops", "*"}
	total := list(t, "cpus:4;mem:1024;ports:[1-9]")
	rapid.Check(t, func(t *rapid.T) {
		a := New(Config{}, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		for i := range 3 {
			a.AddAgent(Agent{ID: fmt.Sprintf("S%d", i), Total: total})
		}
		held := map[string]map[Seat]resource.List{}
		var grants []Grant
		for i, r := range roles {
			join(a, fmt.Sprintf("F%d", i), r)
		}
		for now := time.Duration(1); now < 30; now++ {
			for _, g := range a.Cycle(now, nil) {
				for i := range g.Resources {
					if r := &g.Resources[i]; r.Reserved() && r.Role() != g.Role && !resource.IsAncestor(r.Role(), g.Role) {
						t.Fatalf("%s in %s is offered %s", g.Framework, g.Role, g.Resources)
					}
				}
				grants = append(grants, g)
			}
			if len(grants) == 0 {
				continue
			}
			n := rapid.IntRange(0, len(grants)-1).Draw(t, "offer")
			g := grants[n]
			grants = append(grants[:n], grants[n+1:]...)
			whole := g.Resources
			if rapid.Bool().Draw(t, "converts") && g.Role != "*" {
				ch := resource.Change{Consumed: whole.Unreserved(), Converted: reserved(whole.Unreserved(), g.Role)}
				if back := whole.ReservedTo(g.Role); rapid.Bool().Draw(t, "back") {
					ch = resource.Change{Consumed: back, Converted: back.PopReservation()}
				}
				if err := a.Convert(g.Agent, g.Framework, g.Role, ch); err != nil {
					t.Fatal(err)
				}
				whole = whole.Minus(ch.Consumed).Plus(ch.Converted)
			}
			a.Release(g.Agent, g.Framework, g.Role, whole, 0)
			clear(held)
			for _, g := range grants {
				if held[g.Agent] == nil {
					held[g.Agent] = map[Seat]resource.List{}
				}
				s := Seat{g.Framework, g.Role}
				held[g.Agent][s] = held[g.Agent][s].Plus(g.Resources)
			}
			if err := a.Audit(held); err != nil {
				t.Fatal(err)
			}
		}
	})
}
