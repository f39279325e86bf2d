package mesos
import ("time";"github.com/pando-os/pando/gen/mesosv1"; "github.com/pando-os/pando/gen/mesosv1/scheduler")
type Constraints struct{}
func (*Constraints) Admit(role, hostname, region, zone string, attrs []*mesosv1.Attribute) bool { return true }
func CheckCall(*scheduler.Call) error {return nil}
func CheckFrameworkInfo(*mesosv1.FrameworkInfo) error {return nil}
func CheckTask(*mesosv1.TaskInfo) error {return nil}
func InferCheckTypes(*mesosv1.TaskInfo) {}
func Roles(i *mesosv1.FrameworkInfo) []string { if len(i.Roles)>0 {return i.Roles}; return []string{i.GetRole()} }
func Has(i *mesosv1.FrameworkInfo, c mesosv1.FrameworkInfo_Capability_Type) bool { for _, x := range i.Capabilities { if x.GetType()==c {return true}}; return false }
func CompileConstraints(*scheduler.OfferConstraints, []string) (*Constraints, error) { return nil, nil }
func DecodeCall(b []byte, json bool) (*scheduler.Call, error) { c := &scheduler.Call{}; if json { return c, UnmarshalJSON(b, c) }; return c, DecodeProto(b, c) }
func FormatDuration(d time.Duration) string { return d.String() }
