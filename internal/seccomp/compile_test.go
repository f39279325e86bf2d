package seccomp

import (
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/seccomp/filter"
)

// edges are numbers near to which comparisons go wrong.
func edges(t *rapid.T, label string) uint64 {
	base := rapid.SampledFrom([]uint64{0, 1, 5, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 5 << 32, 5<<32 | 5, 1<<63 | 1, 1<<64 - 1}).Draw(t, label)
	return base + rapid.Uint64Range(0, 2).Draw(t, label) - 1
}

func actions() []Action {
	return []Action{Allow, Log, Trap, KillThread, KillProcess, Errno(0), Errno(1), Errno(38), Errno(4095), Trace(0), Trace(65535)}
}

// names are of calls with neighbours, on both sides of a hole, last, multiplexed, missing on one architecture, and of none.
func names() []string {
	return []string{
		"read", "write", "open", "close", "clone", "clone3", "personality", "socket", "accept", "send", "semop", "shmat", "ipc",
		"socketcall", "io_uring_setup", "futex", "epoll_wait", "rseq_slice_yield", "restart_syscall", "stat64", "no_such_call",
	}
}

func drawCondition(t *rapid.T) Condition {
	c := Condition{
		Index: rapid.Uint8Range(0, 5).Draw(t, "index"),
		Op:    Op(rapid.Uint8Range(uint8(NotEqual), uint8(MaskedEqual)).Draw(t, "op")),
		Value: edges(t, "value"),
	}
	if c.Op == MaskedEqual {
		c.ValueTwo = edges(t, "valueTwo")
	}
	return c
}

func drawScope(t *rapid.T) (s Scope) {
	if rapid.IntRange(0, 3).Draw(t, "scoped") > 0 {
		return s
	}
	s.Caps = rapid.SliceOfN(rapid.SampledFrom([]string{"CAP_A", "CAP_B"}), 0, 2).Draw(t, "caps")
	if rapid.Bool().Draw(t, "arched") {
		s.Arches = rapid.SliceOfN(rapid.SampledFrom([]string{"amd64", "arm64", "s390x"}), 1, 2).Draw(t, "arches")
	}
	if rapid.Bool().Draw(t, "versioned") {
		s.MinKernel = Kernel{rapid.IntRange(4, 5).Draw(t, "major"), rapid.IntRange(0, 9).Draw(t, "minor")}
	}
	return s
}

func drawProfile(t *rapid.T) *Profile {
	p := &Profile{Default: rapid.SampledFrom(actions()).Draw(t, "default")}
	extra := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"}), rapid.ID[string]).Draw(t, "archs")
	if rapid.Bool().Draw(t, "mapped") {
		p.ArchMap = map[string][]string{"SCMP_ARCH_X86_64": extra, "SCMP_ARCH_S390X": {"SCMP_ARCH_S390"}}
	} else {
		p.Archs = extra
	}
	for range rapid.IntRange(0, 60).Draw(t, "rules") {
		r := Rule{
			Names:  rapid.SliceOfN(rapid.SampledFrom(names()), 1, 3).Draw(t, "names"),
			Action: rapid.SampledFrom(actions()).Draw(t, "action"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "args") {
			r.Args = append(r.Args, drawCondition(t))
		}
		if len(r.Args) == 0 && rapid.Bool().Draw(t, "conditional") { // or else most calls soon have a rule for all
			r.Args = append(r.Args, drawCondition(t))
		}
		r.Includes, r.Excludes = drawScope(t), drawScope(t)
		p.Rules = append(p.Rules, r)
	}
	return p
}

func drawTarget(t *rapid.T) Target {
	return Target{
		Arch:   rapid.SampledFrom([]Arch{AMD64, AMD64, ARM64}).Draw(t, "arch"),
		Kernel: Kernel{rapid.IntRange(4, 5).Draw(t, "major"), rapid.IntRange(0, 9).Draw(t, "minor")},
		Caps:   rapid.SliceOfDistinct(rapid.SampledFrom([]string{"CAP_A", "CAP_B"}), rapid.ID[string]).Draw(t, "have"),
	}
}

// drawCall finds a call that the profile has something to say about, as a rule.
func drawCall(t *rapid.T) call {
	c := call{audit: rapid.SampledFrom([]uint32{x8664Audit, x8664Audit, i386Audit, arm64Audit, 0x40000028, 0}).Draw(t, "audit")}
	a := map[uint32]abi{i386Audit: i386(), arm64Audit: {numbers: arm64Numbers}}[c.audit]
	if a.numbers == nil {
		a.numbers = amd64Numbers
	}
	if nr, ok := a.lookup(rapid.SampledFrom(names()).Draw(t, "name")); ok {
		c.nr = nr + uint32(rapid.IntRange(-1, 1).Draw(t, "near"))*uint32(rapid.IntRange(0, 1).Draw(t, "off"))
	} else {
		c.nr = rapid.SampledFrom([]uint32{0, 471, 472, 1000, x32Bit - 1, x32Bit, x32Bit + 1, 0x7fffffff, 0xfffffffe, 0xffffffff}).Draw(t, "nr")
	}
	for i := range c.args {
		c.args[i] = edges(t, "arg")
	}
	if rapid.Bool().Draw(t, "choose") {
		c.args[0] = rapid.Uint64Range(0, 25).Draw(t, "choice") | rapid.SampledFrom([]uint64{0, 1 << 16, 1 << 32}).Draw(t, "version")
	}
	return c
}

func TestAProgramDecidesAsItsProfileReadRuleByRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, target := drawProfile(t), drawTarget(t)
		prog, err := Compile(p, target)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(prog); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			c := drawCall(t)
			want := naive(p, target, c)
			if got, _ := run(prog, c); got != want {
				t.Fatalf("%v: %v, want %v", c, got, want)
			}
			if got := runVM(t, prog, c); got != want {
				t.Fatalf("%v: %v in the other machine, want %v", c, got, want)
			}
		}
	})
}

func TestJumpsLongerThanAConditionalOneArriveWhereTheyShould(t *testing.T) {
	target := Target{Arch: AMD64, Kernel: Kernel{6, 1}}
	p := &Profile{Default: Errno(1), Archs: []string{"SCMP_ARCH_X86"}}
	for i := range uint64(100) { // all on one call, so that its start is far from its end, and on its neighbours
		for _, name := range []string{"read", "write", "getpid"} {
			p.Rules = append(p.Rules, Rule{Names: []string{name}, Action: Errno(uint16(i % 7)), Args: []Condition{{Index: uint8(i % 6), Op: Equal, Value: i << 30}}})
		}
	}
	p.Rules = append(p.Rules, Rule{Names: []string{"close", "exit_group"}, Action: Allow})
	prog := compile(t, p, target)
	long := 0
	for _, i := range prog.Code {
		if i.Op == 0x05 && i.K > 255 {
			long++
		}
	}
	if len(prog.Code) < 1500 || long == 0 {
		t.Errorf("%d instructions, %d long jumps: too few to try it", len(prog.Code), long)
	}
	for _, nr := range []uint32{0, 1, 2, 3, 4, 5, 20, 38, 39, 40, 230, 231, 232, 252, 253} {
		for i := range uint64(101) {
			for _, audit := range []uint32{x8664Audit, i386Audit} {
				c := call{nr: nr, audit: audit, args: [6]uint64{i << 30, i << 30, i << 30, i << 30, i << 30, i << 30}}
				if got, _ := run(prog, c); got != naive(p, target, c) {
					t.Fatalf("%v: %v, want %v", c, got, naive(p, target, c))
				}
			}
		}
	}
}

// At every distance around the longest one, to what can be copied and to what cannot, in both directions.
func TestABranchReachesBothOfItsEndsAtEveryDistance(t *testing.T) {
	for _, copied := range []bool{true, false} {
		for pad := range 600 {
			asm := &assembler{returns: map[bpf.RetConstant]label{}}
			end := func(action Action) label {
				if copied {
					return asm.finish(action)
				}
				return asm.load(offsetArch, 1<<32-1, asm.finish(action))
			}
			var yes, no label
			if yesFirst := pad%2 == 0; yesFirst {
				yes, no = end(Allow), end(Errno(7))
			} else {
				no, yes = end(Errno(7)), end(Allow)
			}
			for range pad / 2 {
				asm.emit(bpf.RetConstant{Val: uint32(KillProcess)})
			}
			asm.load(offsetNumber, 1<<32-1, asm.branch(bpf.JumpEqual, 1, yes, no))
			prog, err := (&Profile{}).program(asm.program())
			if err == nil {
				err = check(prog)
			}
			if err != nil {
				t.Fatalf("%d between: %v", pad/2, err)
			}
			for nr, want := range []Action{Errno(7), Allow} {
				if got, _ := run(prog, call{nr: uint32(nr)}); got != want {
					t.Errorf("%d between: %v, want %v", pad/2, got, want)
				}
			}
		}
	}
}

func TestAProgramHasTheFlagsOfItsProfile(t *testing.T) {
	target := Target{Arch: AMD64, Kernel: Kernel{6, 1}}
	for want, p := range map[uint32]*Profile{0: {}, filter.FlagLog: {LogAll: true}, filter.FlagSpecAllow: {SpecAllow: true}} {
		if got := compile(t, p, target).Flags; got != want {
			t.Errorf("%#x, want %#x", got, want)
		}
	}
}

func TestAProgramThatTheKernelWouldNotTakeIsRefused(t *testing.T) {
	p := &Profile{Default: Errno(1)}
	for i := range uint64(2000) {
		p.Rules = append(p.Rules, Rule{Names: []string{"read"}, Action: Allow, Args: []Condition{{Op: Equal, Value: i}}})
	}
	_, err := Compile(p, Target{Arch: AMD64, Kernel: Kernel{6, 1}})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "the kernel takes 4096") {
		t.Error(err)
	}
	for _, target := range []Target{{Arch: "riscv64"}, {}, {Arch: AMD64, Caps: []string{"NET_ADMIN"}}} {
		if _, err := Compile(&Profile{}, target); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", target, err)
		}
	}
}

// Each line is a promise of the package's words.
func TestWhatOneCallGets(t *testing.T) {
	eq := func(i uint8, v uint64) []Condition { return []Condition{{Index: i, Op: Equal, Value: v}} }
	x86 := []string{"SCMP_ARCH_X86", "SCMP_ARCH_X32"}
	for _, tt := range []struct {
		name string
		p    Profile
		c    call
		want Action
	}{
		{"a rule for all beats an earlier one for some", Profile{Default: Errno(1), Rules: []Rule{
			{Names: []string{"read"}, Action: Trap, Args: eq(0, 1)}, {Names: []string{"read"}, Action: Allow},
		}}, call{0, x8664Audit, [6]uint64{1}}, Allow},
		{"the first of two rules for all holds", Profile{Default: Errno(1), Rules: []Rule{
			{Names: []string{"read"}, Action: Trap}, {Names: []string{"read"}, Action: Allow},
		}}, call{0, x8664Audit, [6]uint64{}}, Trap},
		{"the first condition that holds decides", Profile{Default: Errno(1), Rules: []Rule{
			{Names: []string{"read"}, Action: Trap, Args: eq(0, 1)}, {Names: []string{"read"}, Action: Allow, Args: eq(1, 2)},
		}}, call{0, x8664Audit, [6]uint64{1, 2}}, Trap},
		{"a rule that says what the default says hides nothing", Profile{Default: Errno(1), Rules: []Rule{
			{Names: []string{"read"}, Action: Errno(1)}, {Names: []string{"read"}, Action: Allow},
		}}, call{0, x8664Audit, [6]uint64{}}, Allow},
		{"two conditions on one argument are alternatives", Profile{Default: Errno(1), Rules: []Rule{
			{Names: []string{"read"}, Action: Allow, Args: []Condition{{Op: Equal, Value: 1}, {Op: Equal, Value: 2}}},
		}}, call{0, x8664Audit, [6]uint64{2}}, Allow},
		{"conditions on two arguments both have to hold", Profile{Default: Errno(1), Rules: []Rule{
			{Names: []string{"read"}, Action: Allow, Args: []Condition{{Op: Equal, Value: 1}, {Index: 1, Op: Equal, Value: 2}}},
		}}, call{0, x8664Audit, [6]uint64{1, 3}}, Errno(1)},
		{"the upper half of an argument counts", Profile{Default: Errno(1), Rules: []Rule{
			{Names: []string{"read"}, Action: Allow, Args: eq(0, 1)},
		}}, call{0, x8664Audit, [6]uint64{1<<32 | 1}}, Errno(1)},
		{"a call newer than the profile is one that the kernel does not have", Profile{Default: KillProcess, Rules: []Rule{
			{Names: []string{"write"}, Action: Allow},
		}}, call{2, x8664Audit, [6]uint64{}}, Errno(38)},
		{"but not where the default lets it happen", Profile{Default: Log, Rules: []Rule{
			{Names: []string{"write"}, Action: Errno(1)},
		}}, call{2, x8664Audit, [6]uint64{}}, Log},
		{"x32 is not there where it is listed", Profile{Default: Allow, Archs: x86}, call{x32Bit | 1, x8664Audit, [6]uint64{}}, Errno(38)},
		{"x32 kills where it is not", Profile{Default: Allow}, call{x32Bit | 1, x8664Audit, [6]uint64{}}, KillThread},
		{"a tracer may leave a call out", Profile{Default: Allow}, call{1<<32 - 1, x8664Audit, [6]uint64{}}, Allow},
		{"i386 kills where it is not listed", Profile{Default: Allow}, call{4, i386Audit, [6]uint64{}}, KillThread},
		{"i386 has numbers of its own", Profile{Default: Errno(1), Archs: x86, Rules: []Rule{
			{Names: []string{"write"}, Action: Allow},
		}}, call{4, i386Audit, [6]uint64{}}, Allow},
		{"a call that i386 makes through socketcall is found there", Profile{Default: Allow, Archs: x86, Rules: []Rule{
			{Names: []string{"accept"}, Action: Errno(7)},
		}}, call{102, i386Audit, [6]uint64{5}}, Errno(7)},
		{"other calls through socketcall are not touched", Profile{Default: Allow, Archs: x86, Rules: []Rule{
			{Names: []string{"accept"}, Action: Errno(7)},
		}}, call{102, i386Audit, [6]uint64{4}}, Allow},
		{"the version in the choice of ipc changes nothing", Profile{Default: Allow, Archs: x86, Rules: []Rule{
			{Names: []string{"shmat"}, Action: Errno(7)},
		}}, call{117, i386Audit, [6]uint64{1<<16 | 21}}, Errno(7)},
		{"another processor's calls kill", Profile{Default: Allow}, call{0, arm64Audit, [6]uint64{}}, KillThread},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := run(compile(t, &tt.p, Target{Arch: AMD64, Kernel: Kernel{6, 1}}), tt.c); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
