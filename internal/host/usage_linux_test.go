package host

import (
	"os"
	"testing"
	"time"
)

func TestAProcessTellsWhatItTakes(t *testing.T) {
	before := CPUTime(os.Getpid())
	for n, end := 0, time.Now().Add(100*time.Millisecond); time.Now().Before(end); n++ {
		_ = n * n
	}
	if took := CPUTime(os.Getpid()) - before; took <= 0 {
		t.Errorf("a tenth of a second of work took %v", took)
	}
	if r := Resident(os.Getpid()); r < 1<<20 {
		t.Errorf("this process is said to have %d bytes", r)
	}
	if Resident(-1) != 0 || CPUTime(-1) != 0 {
		t.Error("a process that is not there takes something")
	}
}
