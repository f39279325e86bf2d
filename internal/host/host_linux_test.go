package host

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

func TestUsersAreFoundByNameAndByNumber(t *testing.T) {
	for _, tt := range []struct {
		name string
		uid  uint32
		err  bool
	}{
		{"root", 0, false},
		{"0", 0, false},
		{"3999999999", 3999999999, false},
		{"4294967295", 0, true},
		{"-1", 0, true},
		{"no such user", 0, true},
		{"", 0, true},
	} {
		u, err := LookupUser(tt.name)
		var unknown *UnknownUserError
		if errors.As(err, &unknown) != tt.err || u.UID != tt.uid {
			t.Errorf("%q: %+v, %v", tt.name, u, err)
		}
	}
}

func TestAProcessIsKnownByItsPidAndStart(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	ticks, err := StartTicks(pid)
	if err != nil || !Alive(pid, ticks) || Alive(pid, ticks+1) || !Running(pid) {
		t.Errorf("start %d, %v", ticks, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if Alive(pid, ticks) {
		t.Error("it is dead and alive")
	}
	if _, err := StartTicks(pid); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAProcessNameCannotForgeItsStart(t *testing.T) {
	ticks, state, err := parseStat("12 (evil) R 1 2 3) S 1 12 12 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0")
	if err != nil || ticks != 777 || state != "S" {
		t.Errorf("%d %q %v", ticks, state, err)
	}
	for _, bad := range []string{"", "no parenthesis", "1 (x) S 1 2"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestResourcesLeaveRoomForTheSystem(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		bytes, reserve uint64
		want           Thousandths
	}{
		{16 * gib, gib, 15 * 1024 * 1000},
		{2 * gib, gib, 1024 * 1000},
		{2*gib - 1, gib, 1023 * 1000},
		{gib, gib, 512 * 1000},
		{0, gib, 0},
		{100 * gib, 5 * gib, 95 * 1024 * 1000},
	} {
		if got := leaveRoom(tt.bytes, tt.reserve); got != tt.want {
			t.Errorf("of %d bytes with %d reserved: %d, want %d", tt.bytes, tt.reserve, got, tt.want)
		}
	}
}

func TestThisMachineHasResources(t *testing.T) {
	r := DetectResources(t.TempDir() + "/not/made/yet")
	if r.CPUs < 1000 || r.Mem <= 0 || r.Disk <= 0 || r.PortsFrom != 31000 || r.PortsTo != 32000 {
		t.Errorf("%+v", r)
	}
	total, free, err := Memory()
	if err != nil || total == 0 || free == 0 || free > total {
		t.Errorf("memory %d of %d, %v", free, total, err)
	}
	if _, err := Load(); err != nil {
		t.Error(err)
	}
	if id, err := BootID(); err != nil || len(id) != 36 {
		t.Errorf("boot id %q, %v", id, err)
	}
}
