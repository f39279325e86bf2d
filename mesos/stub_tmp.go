package mesos
import "github.com/pando-os/pando/gen/mesosv1"
type Constraints struct{}
func (*Constraints) Admit(role, hostname, region, zone string, attrs []*mesosv1.Attribute) bool { return true }
type Status struct { TaskID, AgentID, ExecutorID string; State mesosv1.TaskState; Source mesosv1.TaskStatus_Source; HasReason bool; Reason mesosv1.TaskStatus_Reason; Message string; Timestamp float64; UUID string; Healthy int8; UnreachableTime int64; Rest []byte }
func (s *Status) WithoutData() Status { return *s }
