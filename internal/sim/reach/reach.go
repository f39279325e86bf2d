// Package reach is what containers of a simulated cluster reach, and where they are reached, by their ids; and it says whether a status
// tells it.
package reach

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
)

// Stalled is how long the registry of an image, or the server of a file, that hangs is waited for before it is given up.
const Stalled = 5 * time.Minute

// Stalls says whether a container waits for one, which a kill ends.
func Stalls(id string) bool { return id[0] == id[1] && id[1] > 'b' }

// Networks are the networks that a container has of its own: a third of all have one, and those below another have the other's.
func Networks(id string) []*mesosv1.NetworkInfo {
	top, _, _ := strings.Cut(id, ".")
	if top[0]%3 != 0 {
		return nil
	}
	ip := fmt.Sprintf("172.31.%d.%d", top[1], top[2])
	return []*mesosv1.NetworkInfo{{Name: new("bridge"), IpAddresses: []*mesosv1.NetworkInfo_IPAddress{{IpAddress: &ip}}}}
}

// Told looks at where a status says that its task is reached, a task of a machine at an address. Words tell what is wrong; empty: nothing.
func Told(s *mesos.Status, machine string) string {
	var rest mesosv1.TaskStatus
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(s.Rest, &rest); err != nil || rest.ContainerStatus == nil {
		return ""
	}
	id := ""
	for up := rest.GetContainerStatus().GetContainerId(); up != nil; up = up.GetParent() {
		id = up.GetValue()
	}
	want := machine
	if own := Networks(id); own != nil {
		want = own[0].GetIpAddresses()[0].GetIpAddress()
	}
	for _, n := range rest.GetContainerStatus().GetNetworkInfos() {
		if got := n.GetIpAddresses()[0].GetIpAddress(); got != want {
			return fmt.Sprintf("says %s of %s at %s, and its container is reached at %s", s.State, s.TaskID, got, want)
		}
	}
	return ""
}
