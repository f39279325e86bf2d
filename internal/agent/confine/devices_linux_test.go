package confine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container"
)

func TestAnOperatorsDevicesAreReadByTheirPaths(t *testing.T) {
	fuse, tun := Device{"/dev/fuse", true, true}, Device{"/dev/net/tun", true, false}
	for text, want := range map[string][]Device{
		"":                            nil,
		"/dev/fuse, /dev/net/tun:rm,": {fuse, tun},
		"/dev/fuse:w":                 {{"/dev/fuse", false, true}},
		`{"allowed_devices": []}`:     nil,
		` {"allowed_devices": [{"device": {"path": "/dev/fuse"}, "access": {"read": true, "write": true, "mknod": false}}, {"device": {"path": "/dev/net/tun"}, "access": {"read": true, "mknod": true}}]}`: {fuse, tun},
	} {
		got, err := ParseDevices(text)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, d)
		}
	}
	for text, words := range map[string]string{
		"/etc/passwd": "below /dev", "fuse": "below /dev", "/dev/../etc/x": "below /dev", "/dev/": "below /dev", "/dev/fuse:": "ACCESS", "/dev/fuse:rx": "ACCESS",
		"/dev/pts/1": "of its own", "/dev/shm": "of its own", "/dev/fuse:m": "neither read nor written", "/dev/fuse,/dev/fuse:r": "twice",
		`{"allowed": []}`: "is not like", `{"allowed_devices": [{"device": {"number": {}}}]}`: "is not like", `{} x`: "is not like",
		`{"allowed_devices": [{"device": {}, "access": {"read": true}}]}`: "below /dev", `{"allowed_devices": [{"device": {"path": "/dev/fuse"}}]}`: "neither",
	} {
		if got, err := ParseDevices(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s is %v, %v, which lacks %q", text, got, err, words)
		}
	}
}

func TestADeviceIsANodeOfTheMachinesNumber(t *testing.T) {
	r := &Rules{Devices: []Device{{"/dev/null", true, true}, {"/dev/console", true, false}}}
	got, err := r.Nodes()
	if err != nil {
		t.Skipf("SKIP-HOST: %v", err)
	}
	want := []container.Mount{{Kind: container.MountDevice, Target: "/dev/console", Device: 5<<8 | 1, Mode: unix.S_IFCHR | 0o444}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	r.Devices[1] = Device{"/dev/console", false, true}
	if got, err := r.Nodes(); err != nil || got[0].Mode != unix.S_IFCHR|0o222 {
		t.Errorf("a device that may only be written: %v, %v", got, err)
	}
	for path, words := range map[string]string{"/dev/no-such": "--allowed-devices: /dev/no-such", "/etc/passwd": "no device"} {
		r := &Rules{Devices: []Device{{path, true, true}}}
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
