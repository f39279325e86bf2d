package seccomp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/fault"
)

func TestAProfileOfDockerIsRead(t *testing.T) {
	p, err := Parse([]byte(`{
		"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
		"archMap": [
			{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
			{"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null}
		],
		"syscalls": [
			{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {}},
			{"name": "ptrace", "action": "SCMP_ACT_ALLOW", "args": null, "includes": {"minKernel": "4.8", "arches": ["amd64"]}, "excludes": {"caps": ["CAP_A"]}},
			{"names": ["clone"], "action": "SCMP_ACT_TRACE", "errnoRet": 7, "comment": "why", "args": [
				{"index": 0, "value": 2114060288, "valueTwo": 18446744073709551615, "op": "SCMP_CMP_MASKED_EQ"},
				{"index": 5, "value": 18446744073709551615, "valueTwo": 0, "op": "SCMP_CMP_LT"}
			]}
		]}`))
	want := &Profile{
		Default: Errno(38),
		ArchMap: map[string][]string{"SCMP_ARCH_X86_64": {"SCMP_ARCH_X86", "SCMP_ARCH_X32"}, "SCMP_ARCH_RISCV64": {}},
		Rules: []Rule{
			{Names: []string{"read", "write"}, Action: Allow},
			{Names: []string{"ptrace"}, Action: Allow, Includes: Scope{MinKernel: Kernel{4, 8}, Arches: []string{"amd64"}}, Excludes: Scope{Caps: []string{"CAP_A"}}},
			{Names: []string{"clone"}, Action: Trace(7), Args: []Condition{
				{Index: 0, Op: MaskedEqual, Value: 2114060288, ValueTwo: 1<<64 - 1}, {Index: 5, Op: Less, Value: 1<<64 - 1},
			}},
		},
	}
	if d := cmp.Diff(want, p); d != "" || err != nil {
		t.Errorf("%v: -want +got\n%s", err, d)
	}
}

func TestAProfileOfTheOCIRuntimeSpecIsRead(t *testing.T) {
	p, err := Parse([]byte(`{
		"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86"],
		"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"], "listenerPath": "",
		"syscalls": [{"names": ["a"], "action": "SCMP_ACT_KILL"}, {"names": ["b"], "action": "SCMP_ACT_KILL_PROCESS"},
			{"names": ["c"], "action": "SCMP_ACT_ERRNO"}, {"names": ["d"], "action": "SCMP_ACT_TRAP"}]}`))
	want := &Profile{
		Default: Log, Archs: []string{"SCMP_ARCH_X86"}, LogAll: true, SpecAllow: true,
		Rules: []Rule{
			{Names: []string{"a"}, Action: KillThread},
			{Names: []string{"b"}, Action: KillProcess},
			{Names: []string{"c"}, Action: Errno(1)},
			{Names: []string{"d"}, Action: Trap},
		},
	}
	if d := cmp.Diff(want, p); d != "" || err != nil {
		t.Errorf("%v: -want +got\n%s", err, d)
	}
}

func TestWhatIsWrongInAProfileIsNamedWithItsPlace(t *testing.T) {
	rule := func(fields string) string {
		return `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_TRAP"}, {"names": ["read"], "action": "SCMP_ACT_ERRNO", ` + fields + `}]}`
	}
	for _, tt := range []struct{ name, profile, want string }{
		{"no JSON", `{`, "is not JSON"},
		{"no object", `[]`, "the profile: is not an object"},
		{"nothing", `null`, "the profile: is not an object"},
		{"no default", `{}`, `defaultAction: "" is not an action; use`},
		{"an unknown default", `{"defaultAction": "ALLOW"}`, `defaultAction: "ALLOW" is not an action`},
		{"an unknown field", `{"defaultAction": "SCMP_ACT_ALLOW", "Syscalls": []}`, "Syscalls: is not known; leave it out, or use one of defaultAction,"},
		{"a field twice", `{"defaultAction": "SCMP_ACT_ERRNO", "defaultAction": "SCMP_ACT_ALLOW"}`, "defaultAction: is there twice"},
		{"a number with the wrong action", `{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}`, "defaultErrnoRet: says nothing with the action SCMP_ACT_ALLOW"},
		{"an error number that the kernel cuts", `{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}`, "defaultErrnoRet: is 4096; write a whole number from 0 to 4095"},
		{"a listener", `{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"}`, "listenerPath: asks for a program"},
		{"an action for a listener", `{"defaultAction": "SCMP_ACT_NOTIFY"}`, "defaultAction: SCMP_ACT_NOTIFY asks a program"},
		{"a flag for a listener", `{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}`, "flags[0]: \"SECCOMP"},
		{"an unknown architecture", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "amd64"]}`, `architectures[1]: "amd64" is not an architecture`},
		{"an unknown architecture in the map", `{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["x"]}]}`, `archMap[0].subArchitectures[0]: "x"`},
		{"an architecture twice in the map", `{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86"}, {"architecture": "SCMP_ARCH_X86"}]}`, "archMap[1].architecture: SCMP_ARCH_X86 is there twice"},
		{"both ways of architectures", `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}`, "architectures: is there beside archMap"},
		{"a rule without names", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_TRAP"}]}`, "syscalls[0].names: is empty"},
		{"an empty name", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [""], "action": "SCMP_ACT_TRAP"}]}`, "syscalls[0].names[0]: is not a text"},
		{"a null name", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [null], "action": "SCMP_ACT_TRAP"}]}`, "syscalls[0].names[0]: is not a text"},
		{"names that are no list", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": "read", "action": "SCMP_ACT_TRAP"}]}`, "syscalls[0].names: is not a list"},
		{"a null rule", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [null]}`, "syscalls[0]: is not an object"},
		{"name and names", rule(`"name": "write"`), "syscalls[1].name: is there beside names"},
		{"an unknown field of a rule", rule(`"arg": []`), "syscalls[1].arg: is not known"},
		{"an error number that is none", rule(`"errnoRet": "EPERM"`), `syscalls[1].errnoRet: is "EPERM"; write a whole number`},
		{"a negative error number", rule(`"errnoRet": -1`), `syscalls[1].errnoRet: is -1; write`},
		{"an argument that is not there", rule(`"args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]`), "syscalls[1].args[0].index: is 6; write a whole number from 0 to 5"},
		{"no argument", rule(`"args": [{"value": 1, "op": "SCMP_CMP_EQ"}]`), "syscalls[1].args[0].index: is missing"},
		{"no value", rule(`"args": [{"index": 1, "op": "SCMP_CMP_EQ"}]`), "syscalls[1].args[0].value: is missing"},
		{"a value that is too big", rule(`"args": [{"index": 1, "value": 18446744073709551616, "op": "SCMP_CMP_EQ"}]`), "syscalls[1].args[0].value: is 18446744073709551616"},
		{"a value that is not whole", rule(`"args": [{"index": 1, "value": 1.5, "op": "SCMP_CMP_EQ"}]`), "syscalls[1].args[0].value: is 1.5"},
		{"an unknown comparison", rule(`"args": [{"index": 1, "value": 1, "op": "=="}]`), `syscalls[1].args[0].op: "==" is not a comparison; use one of SCMP_CMP_EQ,`},
		{"a second value without a mask", rule(`"args": [{"index": 1, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ"}]`), "syscalls[1].args[0].valueTwo: says nothing with SCMP_CMP_EQ"},
		{"an unknown scope", rule(`"includes": {"capabilities": []}`), "syscalls[1].includes.capabilities: is not known"},
		{"a capability that is none", rule(`"excludes": {"caps": ["CAP_X", "SYS_ADMIN"]}`), `syscalls[1].excludes.caps[1]: "SYS_ADMIN" is not the name of a capability`},
		{"a version that is none", rule(`"includes": {"minKernel": "4"}`), `syscalls[1].includes.minKernel: "4" is not a version`},
		{"a text that is none", rule(`"comment": 1`), "syscalls[1].comment: is not a text"},
		{"too many bytes", strings.Repeat(" ", MaxProfile+1), "has 1048577 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse([]byte(tt.profile))
			if !fault.Is(err, fault.Invalid) || p != nil || !strings.Contains(err.Error(), "seccomp profile: "+tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestNamesThatMeanNothingAreListed(t *testing.T) {
	p := &Profile{Rules: []Rule{{Names: []string{"raed", "read", "stat64", "accept"}}, {Names: []string{"write", "raed", "open"}}}}
	for arch, want := range map[Arch][]string{AMD64: {"raed"}, ARM64: {"open", "raed", "stat64"}} {
		got, err := p.Unknown(arch)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v: -want +got\n%s", arch, err, d)
		}
	}
	if _, err := p.Unknown("mips"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestTheVersionOfTheKernelIsReadFromItsRelease(t *testing.T) {
	for release, want := range map[string]Kernel{
		"6.1.0-18-amd64": {6, 1}, "3.12-rc5": {3, 12}, "3.12.25-gentoo": {3, 12}, "5.10": {5, 10}, "4.19+": {4, 19},
	} {
		if got, err := here(release, nil); err != nil || got.Kernel != want {
			t.Errorf("%s: %v, %v", release, got.Kernel, err)
		}
	}
	for _, release := range []string{"", "6", "x.1", "-6.1"} {
		if _, err := here(release, nil); !fault.Is(err, fault.Internal) {
			t.Errorf("%q: %v", release, err)
		}
	}
}

// What is read compiles, or is refused with words, and never to something that the kernel would not take.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],"syscalls":[{"names":["read","socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":40,"valueTwo":0,"op":"SCMP_CMP_NE"}],"includes":{"caps":["CAP_A"],"minKernel":"4.8"}}]}`))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X32"],"flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[{"name":"clone","action":"SCMP_ACT_TRACE","errnoRet":65535,"args":[{"index":5,"value":18446744073709551615,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"},{"index":5,"value":1,"op":"SCMP_CMP_LE"}]}]}`))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_KILL","listenerPath":null,"syscalls":null}`))
	f.Add([]byte(`{"defaultAction":`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if (p == nil) == (err == nil) || err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatal(p, err)
		}
		if err != nil {
			return
		}
		for _, arch := range []Arch{AMD64, ARM64} {
			target := Target{Arch: arch, Kernel: Kernel{6, 1}, Caps: []string{"CAP_A"}}
			prog, err := Compile(p, target)
			if err != nil {
				if !fault.Is(err, fault.Invalid) {
					t.Fatal(err)
				}
				continue
			}
			if err := check(prog); err != nil {
				t.Fatal(err)
			}
			for _, c := range []call{{nr: 0, audit: x8664Audit}, {nr: 56, audit: arm64Audit, args: [6]uint64{5: 1 << 63}}, {nr: 102, audit: i386Audit, args: [6]uint64{1}}} {
				if got, _ := run(prog, c); got != naive(p, target, c) {
					t.Fatalf("%v: %v, want %v", c, got, naive(p, target, c))
				}
			}
		}
	})
}
