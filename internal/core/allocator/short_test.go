package allocator

import (
	"testing"
	"time"
)

func TestAnAgentThatComesBackWithLessOffersNoMoreThanItHas(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "*")
	for range 2 {
		a.Hold("S00", "F1", "*", list(t, "cpus:1.5;mem:100"))
	}
	a.UpdateAgent(Agent{ID: "S00", Total: list(t, "cpus:2;mem:1024")})
	a.Release("S00", "F1", "*", list(t, "cpus:1.5;mem:100"), 0)
	grants := a.Cycle(time.Second, nil)
	if len(grants) != 1 || !grants[0].Resources.Equal(list(t, "cpus:0.5;mem:924")) {
		t.Errorf("it has two cpus and one and a half of them are used; offered are %v", grants)
	}
}
