package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// StartTicks reads when a process started, in clock ticks since boot (field 22 of /proc/PID/stat). Together with the pid
// it names a process for good within a boot. The error is os.ErrNotExist when there is no such process.
func StartTicks(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	ticks, _, err := parseStat(string(b))
	return ticks, err
}

// Alive says whether the process that had this pid and start still runs; a zombie does not.
func Alive(pid int, startTicks uint64) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	ticks, state, err := parseStat(string(b))
	return err == nil && ticks == startTicks && state != "Z" && state != "X"
}

// parseStat takes start and state out of a stat line. The name in it may hold spaces and parentheses; the last one ends it.
func parseStat(s string) (ticks uint64, state string, err error) {
	i := strings.LastIndexByte(s, ')')
	f := strings.Fields(s[i+1:])
	if i < 0 || len(f) < 20 {
		return 0, "", fmt.Errorf("unexpected /proc/PID/stat: %q", s)
	}
	ticks, err = strconv.ParseUint(f[19], 10, 64)
	return ticks, f[0], err
}

// BootID names this boot of the machine; it tells a reboot from a restart.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w; mount /proc", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Running says whether a process with that pid runs; a zombie does not.
func Running(pid int) bool {
	ticks, err := StartTicks(pid)
	return err == nil && Alive(pid, ticks)
}
