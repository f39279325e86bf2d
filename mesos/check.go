package mesos

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos/resource"
)

// maxID is the most bytes that an id may have, which is what a file's name may have.
const maxID = 255

// CheckID tells whether id can be an id of anything: it becomes the name of a directory, so it is
// not empty, at most 255 bytes, not "." or "..", and without slashes, backslashes and control
// characters.
func CheckID(id string) error {
	switch {
	case id == "":
		return errors.New("the id is empty; give one")
	case len(id) > maxID:
		return fmt.Errorf("the id has %d bytes, of at most %d; shorten it", len(id), maxID)
	case id == "." || id == "..":
		return fmt.Errorf("the id %q means a directory; choose another", id)
	}
	for i := range len(id) {
		if c := id[i]; c < 0x20 || c == 0x7f || c == '/' || c == '\\' {
			return fmt.Errorf("the id %q holds %q; leave out slashes, backslashes and control characters", id, c)
		}
	}
	return nil
}

// CheckRole tells whether role can be a role's name; see resource.CheckRole.
func CheckRole(role string) error { return resource.CheckRole(role) }

// CheckUUID tells whether b is what a status may carry as its uuid: 16 bytes of a known version.
// All zeros, as in the original, is none.
func CheckUUID(b []byte) error {
	if len(b) != 16 {
		return fmt.Errorf("has %d bytes; send back the 16 bytes of the status", len(b))
	}
	if v := b[6] >> 4; v < 1 || v > 8 {
		return errors.New("is no UUID; send back the 16 bytes of the status")
	}
	return nil
}

// at puts the field's name before err.
func at(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", field, err)
}

// Has tells whether the framework declares a capability.
func Has(info *mesosv1.FrameworkInfo, capability mesosv1.FrameworkInfo_Capability_Type) bool {
	for _, c := range info.GetCapabilities() {
		if c.GetType() == capability {
			return true
		}
	}
	return false
}

// Roles is the roles that a framework is in: `roles` with MULTI_ROLE, which may be none, else the
// one `role`, "*" when it is unset.
func Roles(info *mesosv1.FrameworkInfo) []string {
	if Has(info, mesosv1.FrameworkInfo_Capability_MULTI_ROLE) {
		return info.GetRoles()
	}
	return []string{info.GetRole()}
}

// CheckFrameworkInfo tells whether a framework may subscribe with info, as far as that can be told
// without asking who it is.
func CheckFrameworkInfo(info *mesosv1.FrameworkInfo) error {
	if Has(info, mesosv1.FrameworkInfo_Capability_MULTI_ROLE) {
		if info.Role != nil {
			return errors.New("framework_info.role: is set beside MULTI_ROLE; use roles")
		}
	} else if len(info.GetRoles()) > 0 {
		return errors.New("framework_info.roles: needs the capability MULTI_ROLE; add it, or use role")
	}
	seen := make(map[string]bool, len(info.GetRoles()))
	for i, role := range info.GetRoles() {
		if seen[role] {
			return fmt.Errorf("framework_info.roles[%d]: %q is there already; name each role once", i, role)
		}
		seen[role] = true
		if err := CheckRole(role); err != nil {
			return fmt.Errorf("framework_info.roles[%d]: %w", i, err)
		}
	}
	if info.Role != nil {
		if err := CheckRole(info.GetRole()); err != nil {
			return at("framework_info.role", err)
		}
	}
	if id := info.GetId().GetValue(); id != "" { // an empty one counts as none
		if err := CheckID(id); err != nil {
			return at("framework_info.id.value", err)
		}
	}
	// Negative ones are taken, and mean zero; nanoseconds must fit into 64 bits.
	if t := info.GetFailoverTimeout(); math.IsNaN(t) || math.Abs(t) > math.MaxInt64/1e9 {
		return fmt.Errorf("framework_info.failover_timeout: %v seconds are more than 292 years; give fewer", t)
	}
	return checkOfferFilters(info.GetOfferFilters())
}

// checkOfferFilters takes filters of roles that the framework is not in, as the original does.
func checkOfferFilters(filters map[string]*mesosv1.OfferFilters) error {
	for _, role := range sortedKeys(filters) {
		field := "framework_info.offer_filters." + role
		if err := CheckRole(role); err != nil {
			return at(field, err)
		}
		for i, q := range filters[role].GetMinAllocatableResources().GetQuantities() {
			if len(q.GetQuantities()) == 0 {
				return fmt.Errorf("%s.min_allocatable_resources.quantities[%d]: is empty; name an amount, or leave it out", field, i)
			}
			for _, name := range sortedKeys(q.GetQuantities()) {
				if _, err := resource.FromFloat(q.GetQuantities()[name].GetValue()); err != nil {
					return fmt.Errorf("%s.min_allocatable_resources.quantities[%d].%s: %w", field, i, name, err)
				}
			}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// CheckSuppressedRoles tells whether a framework may suppress these roles: they are its own.
func CheckSuppressedRoles(info *mesosv1.FrameworkInfo, suppressed []string) error {
	own := map[string]bool{}
	for _, role := range Roles(info) {
		own[role] = true
	}
	for i, role := range suppressed {
		if !own[role] {
			return fmt.Errorf("suppressed_roles[%d]: the framework is not in %q; suppress roles of its own", i, role)
		}
	}
	return nil
}

// CheckUpdateFramework tells whether UPDATE_FRAMEWORK may turn old into info. A new subscription
// may change more (user and checkpoint are then ignored); only the principal is as fixed there.
func CheckUpdateFramework(old, info *mesosv1.FrameworkInfo) error {
	if err := CheckFrameworkInfo(info); err != nil {
		return err
	}
	switch {
	case old.GetPrincipal() != info.GetPrincipal():
		return errors.New("framework_info.principal: cannot change; send the one that the framework subscribed with")
	case old.GetUser() != info.GetUser():
		return errors.New("framework_info.user: cannot change; send the one that the framework subscribed with")
	case old.GetCheckpoint() != info.GetCheckpoint():
		return errors.New("framework_info.checkpoint: cannot change; send the one that the framework subscribed with")
	}
	return nil
}

// CheckCall tells whether a call is whole: it has its type, the framework's id and the member that
// goes with the type. A call of type UNKNOWN is whole; it is for the caller to say that nobody
// knows it.
func CheckCall(c *scheduler.Call) error {
	kind := c.GetType()
	if _, known := scheduler.Call_Type_name[int32(kind)]; c.Type == nil || !known {
		return errors.New("type: is missing or unknown here; name the call")
	}
	if kind == scheduler.Call_SUBSCRIBE {
		if c.Subscribe == nil {
			return missing(kind, "subscribe")
		}
		return sameFramework(c.GetFrameworkId(), c.GetSubscribe().GetFrameworkInfo(), "subscribe")
	}
	if c.FrameworkId == nil {
		return errors.New("framework_id: is missing; every call but SUBSCRIBE needs it")
	}
	if member, there := memberOf(c); !there {
		return missing(kind, member)
	}
	switch kind {
	case scheduler.Call_ACKNOWLEDGE:
		return at("acknowledge.uuid", CheckUUID(c.GetAcknowledge().GetUuid()))
	case scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		a := c.GetAcknowledgeOperationStatus()
		if a.AgentId == nil {
			return errors.New("acknowledge_operation_status.agent_id: is missing; send back the agent_id of the status")
		}
		return at("acknowledge_operation_status.uuid", CheckUUID(a.GetUuid()))
	case scheduler.Call_UPDATE_FRAMEWORK:
		return sameFramework(c.GetFrameworkId(), c.GetUpdateFramework().GetFrameworkInfo(), "update_framework")
	}
	return nil
}

func missing(kind scheduler.Call_Type, member string) error {
	return fmt.Errorf("%s: is missing; a call of type %v needs it", member, kind)
}

func sameFramework(id *mesosv1.FrameworkID, info *mesosv1.FrameworkInfo, member string) error {
	if id.GetValue() != info.GetId().GetValue() {
		return fmt.Errorf("framework_id: is %q, but %s.framework_info.id is %q; send the same in both", id.GetValue(), member, info.GetId().GetValue())
	}
	return nil
}

// memberOf gives the name of the member that must go with the call's type, and whether it is there.
func memberOf(c *scheduler.Call) (name string, there bool) {
	switch c.GetType() {
	case scheduler.Call_ACCEPT:
		return "accept", c.Accept != nil
	case scheduler.Call_DECLINE:
		return "decline", c.Decline != nil
	case scheduler.Call_ACCEPT_INVERSE_OFFERS:
		return "accept_inverse_offers", c.AcceptInverseOffers != nil
	case scheduler.Call_DECLINE_INVERSE_OFFERS:
		return "decline_inverse_offers", c.DeclineInverseOffers != nil
	case scheduler.Call_KILL:
		return "kill", c.Kill != nil
	case scheduler.Call_SHUTDOWN:
		return "shutdown", c.Shutdown != nil
	case scheduler.Call_ACKNOWLEDGE:
		return "acknowledge", c.Acknowledge != nil
	case scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		return "acknowledge_operation_status", c.AcknowledgeOperationStatus != nil
	case scheduler.Call_RECONCILE:
		return "reconcile", c.Reconcile != nil
	case scheduler.Call_RECONCILE_OPERATIONS:
		return "reconcile_operations", c.ReconcileOperations != nil
	case scheduler.Call_MESSAGE:
		return "message", c.Message != nil
	case scheduler.Call_REQUEST:
		return "request", c.Request != nil
	case scheduler.Call_UPDATE_FRAMEWORK:
		return "update_framework", c.UpdateFramework != nil
	}
	return "", true
}
