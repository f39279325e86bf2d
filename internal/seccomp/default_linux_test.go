package seccomp

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/seccomp/filter"
)

// plainCaps are what Docker gives to a container that asks for nothing.
func plainCaps() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// gateCaps are those that the profile knows.
func gateCaps() []string {
	return []string{
		"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_PACCT",
		"CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_SYS_NICE", "CAP_SYSLOG", "CAP_BPF", "CAP_PERFMON",
	}
}

// mobys has moby resolve its profile.
func mobys(t interface{ Fatal(...any) }, caps []string) []byte {
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	resolved, err := moby.GetDefaultProfile(spec)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(resolved)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTheDefaultProfileIsWhatMobyResolvesForTheSameCapabilities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		caps := rapid.SliceOfDistinct(rapid.SampledFrom(gateCaps()), rapid.ID[string]).Draw(t, "caps")
		want, err := Parse(mobys(t, caps))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Default(caps)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Fatalf("%v: -want +got\n%s", err, d)
		}
	})
}

// argumentsOfInterest are those that the default profile compares with, and their neighbours.
func argumentsOfInterest() (list []uint64) {
	for _, v := range []uint64{0, 8, 38, 40, 0x20000, 0x20008, 0x7e020000, 0x10000000, 0x02000000, 0x11, 1 << 31, 0xffffffff, 1 << 32, 1<<32 | 40, 1<<64 - 1} {
		list = append(list, v-1, v, v+1)
	}
	return list
}

// compares says whether a profile looks at the arguments of a call.
func compares(p *Profile, audit, nr uint32) bool {
	a := map[uint32]abi{x8664Audit: {numbers: amd64Numbers}, i386Audit: i386(), arm64Audit: {numbers: arm64Numbers}}[audit]
	for _, r := range p.Rules {
		for _, name := range r.Names {
			if n, ok := a.lookup(name); ok && n == nr && len(r.Args) > 0 {
				return true
			}
		}
	}
	return false
}

func TestTheDefaultProfileDecidesEveryCallAsItIsWritten(t *testing.T) {
	p, err := Docker()
	if err != nil {
		t.Fatal(err)
	}
	for name, caps := range map[string][]string{"no capability": nil, "Docker's": plainCaps(), "all": gateCaps()} {
		for arch, audits := range map[Arch][]uint32{AMD64: {x8664Audit, i386Audit, arm64Audit}, ARM64: {arm64Audit, 0x40000028}} {
			target := Target{Arch: arch, Kernel: Kernel{6, 1}, Caps: caps}
			prog := compile(t, p, target)
			seen := map[Action]int{}
			for _, audit := range audits {
				for nr := range uint32(520) {
					values := argumentsOfInterest()
					if !compares(p, audit, nr) {
						values = values[:2]
					}
					for _, v := range values {
						c := call{nr: nr, audit: audit, args: [6]uint64{v, v, v, v, v, v}}
						got, _ := run(prog, c)
						if want := naive(p, target, c); got != want {
							t.Fatalf("%s, %s: %v: %v, want %v", name, arch, c, got, want)
						}
						seen[got]++
					}
				}
			}
			if len(seen) < 4 { // ALLOW, ERRNO(1), ERRNO(38) and KILL_THREAD
				t.Errorf("%s, %s: only %v", name, arch, seen)
			}
		}
	}
}

func TestOfTheDefaultProfileOnlyNamesOfOtherProcessorsAreUnknown(t *testing.T) {
	p, err := Docker()
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Unknown(AMD64)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "riscv_flush_icache", "riscv_hwprobe",
		"s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr", "set_tls", "swapcontext", "sync_file_range2",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func steps(tb testing.TB, p filter.Program, name string) int {
	tb.Helper()
	a, _ := native(AMD64)
	nr, ok := a.lookup(name)
	if !ok {
		tb.Fatal(name)
	}
	_, n := run(p, call{nr: nr, audit: x8664Audit})
	return n
}

func TestFrequentCallsTakeFewStepsAndNoneTakesMany(t *testing.T) {
	p, err := Docker()
	if err != nil {
		t.Fatal(err)
	}
	prog := compile(t, p, Target{Arch: AMD64, Kernel: Kernel{6, 1}, Caps: plainCaps()})
	for _, name := range []string{"read", "write", "futex", "epoll_wait"} {
		if n := steps(t, prog, name); n > 11 {
			t.Errorf("%s takes %d steps", name, n)
		}
	}
	for nr := range uint32(500) {
		if _, n := run(prog, call{nr: nr, audit: x8664Audit, args: [6]uint64{39, 39, 39, 39, 39, 39}}); n > 32 {
			t.Errorf("%d takes %d steps", nr, n)
		}
	}
}

// BenchmarkDefault also tells what a call costs, in instructions of the program.
func BenchmarkDefault(b *testing.B) {
	p, err := Docker()
	if err != nil {
		b.Fatal(err)
	}
	target := Target{Arch: AMD64, Kernel: Kernel{6, 1}, Caps: plainCaps()}
	prog := compile(b, p, target)
	worst := 0
	for nr := range uint32(1000) {
		for _, v := range argumentsOfInterest() {
			_, n := run(prog, call{nr: nr, audit: x8664Audit, args: [6]uint64{v, v, v, v, v, v}})
			worst = max(worst, n)
		}
	}
	for b.Loop() {
		if _, err := Compile(p, target); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(prog.Code)), "instructions")
	b.ReportMetric(float64(worst), "steps/worst")
	for _, name := range []string{"read", "write", "futex"} {
		b.ReportMetric(float64(steps(b, prog, name)), "steps/"+name)
	}
}
