package removal

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/machine"
)

func TestARateIsReadAsTheOriginalWritesItAndWrittenAsItIsRead(t *testing.T) {
	for text, want := range map[string]Rate{"": {}, "1/10mins": {1, 10 * time.Minute}, "100/1mins": {100, time.Minute}, "2/1.5secs": {2, 1500 * time.Millisecond}} {
		got, err := ParseRate(text)
		if err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
		if again, err := ParseRate(got.String()); err != nil || again != got {
			t.Errorf("%q was written as %q, which is %v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"1", "/", "1/", "/1mins", "0/1mins", "-1/1mins", "1/0secs", "1/-1secs", "x/1mins", "1/1", "1/1mins/2", "9/8ns", "1.5/1mins"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// Whatever happens, agents leave the line in the order in which they came, no faster than the rate, never after they were taken
// out, and each turn is awaited.
func TestALineKeepsItsOrderAndItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate{rapid.IntRange(0, 3).Draw(t, "agents"), time.Duration(rapid.IntRange(3, 20).Draw(t, "per"))}
		l, now, last := NewLine(rate), time.Duration(1), time.Duration(-100)
		var model []string
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			agent := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "agent"))
			at := -1
			for i, m := range model {
				if m == agent {
					at = i
				}
			}
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0:
				if l.Add(agent, "why "+agent) != (at < 0) {
					t.Fatalf("%s was added to %v", agent, model)
				}
				if at < 0 {
					model = append(model, agent)
				}
			case 1:
				if l.Cancel(agent) != (at >= 0) {
					t.Fatalf("%s was taken out of %v", agent, model)
				}
				if at >= 0 {
					model = append(model[:at:at], model[at+1:]...)
				}
			case 2:
				now += time.Duration(rapid.IntRange(0, 8).Draw(t, "time"))
			default:
				due := len(model) > 0 && (rate.Agents == 0 || now >= last+rate.Per/time.Duration(rate.Agents))
				if d := l.Deadline(); (d == machine.Never) != (len(model) == 0) || d != machine.Never && (d <= now) != due {
					t.Fatalf("the deadline is %d at %d with %v in line", d, now, model)
				}
				agent, why, ok := l.Next(now)
				if ok != due || ok && (agent != model[0] || why != "why "+agent) {
					t.Fatalf("%q (%q), %v leaves %v at %d", agent, why, ok, model, now)
				}
				if ok {
					model, last = model[1:], now
				}
			}
		}
	})
}
