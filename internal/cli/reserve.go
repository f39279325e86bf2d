package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// nodeNames is the part of a command's help that says how a node is named.
const nodeNames = "NODE is a host name, an id, or a prefix that only one id begins with."

// resourceNode is a node with all that is reserved on it.
type resourceNode = master.Response_GetAgents_Agent

func (a *App) resourceNodes(ctx context.Context) (*client.Operator, []*resourceNode, error) {
	o, err := a.operator()
	if err != nil {
		return nil, nil, err
	}
	answer, err := o.Call(ctx, &master.Call{Type: master.Call_GET_AGENTS.Enum()})
	if err != nil {
		return nil, nil, err
	}
	all := answer.GetGetAgents().GetAgents()
	slices.SortFunc(all, func(x, y *resourceNode) int {
		return strings.Compare(x.GetAgentInfo().GetHostname()+"\x00"+nodeID(x), y.GetAgentInfo().GetHostname()+"\x00"+nodeID(y))
	})
	return o, all, nil
}

func nodeID(n *resourceNode) string { return n.GetAgentInfo().GetId().GetValue() }

// resourceNode finds the node that a command's argument names.
func (a *App) resourceNode(ctx context.Context, word string) (*client.Operator, *resourceNode, error) {
	o, all, err := a.resourceNodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	called := slices.DeleteFunc(slices.Clone(all), func(n *resourceNode) bool { return n.GetAgentInfo().GetHostname() != word })
	if len(called) == 1 {
		return o, called[0], nil
	}
	n, err := pick("node", word, all, nodeID, func(n *resourceNode) string { return nodeID(n) + " (" + n.GetAgentInfo().GetHostname() + ")" }, nil)
	return o, n, err
}

// completeNodes offers the nodes to the shell, for the first argument.
func (a *App) completeNodes(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if len(args) == 0 {
		if _, all, err := a.resourceNodes(cmd.Context()); err == nil {
			for _, n := range all {
				for _, name := range []string{n.GetAgentInfo().GetHostname(), nodeID(n)} {
					if strings.HasPrefix(name, begun) {
						out = append(out, name)
					}
				}
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// owner is for whom something is reserved, as flags say it.
type owner struct {
	role, principal string
	labels          []string
}

func (o *owner) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.role, "role", "", "the role that it is reserved for")
	_ = cmd.MarkFlagRequired("role")
}

// reservation is the top of the stack that the flags describe.
func (o *owner) reservation() (resource.Reservation, error) {
	r := resource.Reservation{Dynamic: true, Role: o.role, Principal: o.principal}
	if err := mesos.CheckRole(o.role); err != nil {
		return r, fault.New(fault.Invalid, "--role: %w", err)
	}
	for _, l := range o.labels {
		key, value, has := strings.Cut(l, "=")
		if key == "" {
			return r, fault.New(fault.Invalid, "--label: %q has no key; write KEY=VALUE", l)
		}
		r.Labels = append(r.Labels, resource.Label{Key: key, Value: value, HasValue: has})
	}
	return r, nil
}

// reservedLine is something that is reserved, as it is printed in JSON.
type reservedLine struct {
	AgentID   string `json:"agent_id"`
	Hostname  string `json:"hostname"`
	Role      string `json:"role"`
	Dynamic   bool   `json:"dynamic"`
	Resources string `json:"resources"`
	Principal string `json:"principal,omitempty"`
	Labels    string `json:"labels,omitempty"`
}

func (a *App) reserveCommand() *cobra.Command {
	var to owner
	reserve := &cobra.Command{
		Use:   "reserve NODE RESOURCES --role ROLE",
		Short: "Reserve resources of a node for a role",
		Long: "Reserve resources of a node for a role: only frameworks of that role are offered them, until they are unreserved. " +
			"What others were offered of them is taken back; what their tasks use is not. " + nodeNames,
		Example:           "  pando reserve node-1 'cpus:2;mem:1024;disk:4096' --role db\n  pando reserve node-1 'ports:[31000-31005]' --role web --label team=shop\n  pando reserve ls",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			layer, err := to.reservation()
			if err != nil {
				return err
			}
			l, err := resource.Parse(args[1], "*")
			if err != nil {
				return fault.New(fault.Invalid, "RESOURCES: %w", err)
			}
			o, n, err := a.resourceNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.changed(cmd.Context(), o, n, "is reserved for "+to.role, l, &master.Call{
				Type: master.Call_RESERVE_RESOURCES.Enum(),
				ReserveResources: &master.Call_ReserveResources{
					AgentId: n.GetAgentInfo().GetId(), Resources: l.PushReservation(layer).ToProto("", resource.PostRefinement),
				},
			})
		},
	}
	to.flags(reserve)
	reserve.Flags().StringVar(&to.principal, "principal", "", "who reserves it, which is shown with it")
	reserve.Flags().StringArrayVar(&to.labels, "label", nil, "`KEY=VALUE`, which tells reservations apart; may be repeated")
	reserve.AddCommand(&cobra.Command{
		Use: "ls", Short: "List what is reserved on which node", Example: "  pando reserve ls", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.reserveLs(cmd.Context()) },
	})
	return reserve
}

func (a *App) reserveLs(ctx context.Context) error {
	_, all, err := a.resourceNodes(ctx)
	if err != nil {
		return err
	}
	lines := []reservedLine{}
	sums := []resource.List{}
	for _, n := range all {
		l, _, err := resource.FromProto(n.GetTotalResources())
		if err != nil {
			return fault.New(fault.Internal, "the resources of %s cannot be read: %w", n.GetAgentInfo().GetHostname(), err)
		}
		byTop := map[string]int{}
		for i := range l {
			if !l[i].Reserved() {
				continue
			}
			top := l[i].Traits.Reservations[len(l[i].Traits.Reservations)-1]
			var labels []string
			for _, x := range top.Labels {
				labels = append(labels, x.Key+"="+x.Value)
			}
			line := reservedLine{
				AgentID: nodeID(n), Hostname: n.GetAgentInfo().GetHostname(), Role: top.Role, Dynamic: top.Dynamic, Principal: top.Principal, Labels: strings.Join(labels, ","),
			}
			key := fmt.Sprint(line.Role, "\x00", line.Dynamic, "\x00", line.Principal, "\x00", line.Labels)
			at, ok := byTop[key]
			if !ok {
				at = len(lines)
				byTop[key], lines, sums = at, append(lines, line), append(sums, nil)
			}
			sums[at] = sums[at].Plus(bare(l[i : i+1]))
		}
	}
	for i := range lines {
		lines[i].Resources = sums[i].String()
	}
	return a.show(lines, func(w io.Writer) {
		row(w, "NODE", "ROLE", "RESOURCES", "BY", "PRINCIPAL", "LABELS")
		for _, x := range lines {
			by := "settings"
			if x.Dynamic {
				by = "operation"
			}
			row(w, x.Hostname, x.Role, x.Resources, by, x.Principal, x.Labels)
		}
	})
}

// bare is resources without whom they are for.
func bare(l resource.List) resource.List {
	out := resource.List{}
	for i := range l {
		r := l[i]
		r.Traits = nil
		out = out.Plus(resource.New(r))
	}
	return out
}

// changed makes a call that changes a node's resources, and says what it did.
func (a *App) changed(ctx context.Context, o *client.Operator, n *resourceNode, what string, l resource.List, call *master.Call) error {
	if _, err := o.Call(ctx, call); err != nil {
		return err
	}
	return a.show(map[string]string{"agent_id": nodeID(n), "resources": bare(l).String()}, func(w io.Writer) {
		fmt.Fprintf(w, "%s of %s %s\n", bare(l), n.GetAgentInfo().GetHostname(), what)
	})
}

func (a *App) unreserveCommand() *cobra.Command {
	var of owner
	unreserve := &cobra.Command{
		Use:   "unreserve NODE RESOURCES --role ROLE",
		Short: "Let everybody have again what was reserved",
		Long: "Let everybody have again what was reserved for a role by `pando reserve` or by a framework. A volume that is made of it has to " +
			"go first. " + nodeNames,
		Example:           "  pando unreserve node-1 'cpus:2;mem:1024' --role db",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := resource.Parse(args[1], "*")
			if err != nil {
				return fault.New(fault.Invalid, "RESOURCES: %w", err)
			}
			o, n, err := a.resourceNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			total, _, err := resource.FromProto(n.GetTotalResources())
			if err != nil {
				return fault.New(fault.Internal, "the resources of %s cannot be read: %w", n.GetAgentInfo().GetHostname(), err)
			}
			l, err := reservedPart(total, want, of.role)
			if err != nil {
				return err
			}
			return a.changed(cmd.Context(), o, n, "is for everybody", want, &master.Call{
				Type: master.Call_UNRESERVE_RESOURCES.Enum(),
				UnreserveResources: &master.Call_UnreserveResources{
					AgentId: n.GetAgentInfo().GetId(), Resources: l.ToProto("", resource.PostRefinement),
				},
			})
		},
	}
	of.flags(unreserve)
	return unreserve
}

// reservedPart finds so much among what a role has reserved and no volume is made of.
func reservedPart(total, want resource.List, role string) (resource.List, error) {
	var found resource.List
	for i := range want {
		rest := resource.New(want[i])
		for j := range total {
			r := total[j]
			if rest.IsEmpty() || r.Name != want[i].Name || !r.Reserved() || r.Role() != role || r.PersistenceID() != "" ||
				!r.Traits.Reservations[len(r.Traits.Reservations)-1].Dynamic {
				continue
			}
			left := rest.Minus(bare(resource.List{r}))
			part := rest.Minus(left)
			rest = left
			for k := range part {
				part[k].Traits = r.Traits
			}
			found = found.Plus(part)
		}
		if !rest.IsEmpty() {
			return nil, fault.New(fault.Conflict, "%s of the %s are not reserved for %s by an operation, or a volume is made of it; see `pando reserve ls` and `pando volume ls`",
				rest, resource.List{want[i]}, role)
		}
	}
	return found, nil
}
