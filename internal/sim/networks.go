package sim

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/mesos"
)

// networksOf are the networks that a container has of its own: a third of all have one, and those below another have the other's.
func networksOf(id string) []*mesosv1.NetworkInfo {
	top, _, _ := strings.Cut(id, ".")
	if top[0]%3 != 0 {
		return nil
	}
	ip := fmt.Sprintf("172.31.%d.%d", top[1], top[2])
	return []*mesosv1.NetworkInfo{{Name: new("bridge"), IpAddresses: []*mesosv1.NetworkInfo_IPAddress{{IpAddress: &ip}}}}
}

// reached looks at where a status says that its task is reached.
func (c *checks) reached(a *agent, s *mesos.Status) {
	var rest mesosv1.TaskStatus
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(s.Rest, &rest); err != nil || rest.ContainerStatus == nil {
		return
	}
	id := ""
	for up := rest.GetContainerStatus().GetContainerId(); up != nil; up = up.GetParent() {
		id = up.GetValue()
	}
	want := a.ip
	if own := networksOf(id); own != nil {
		want = own[0].GetIpAddresses()[0].GetIpAddress()
	}
	for _, n := range rest.GetContainerStatus().GetNetworkInfos() {
		if got := n.GetIpAddresses()[0].GetIpAddress(); got != want {
			c.w.Fail(rule.Reached, "%s says %s of %s at %s, and its container is reached at %s", a.p.Name, s.State, s.TaskID, got, want)
		}
	}
}
