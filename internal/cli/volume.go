package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/fault"
)

// volumeLine is a volume, as it is printed in JSON.
type volumeLine struct {
	AgentID  string  `json:"agent_id"`
	Hostname string  `json:"hostname"`
	ID       string  `json:"id"`
	Role     string  `json:"role"`
	MB       float64 `json:"mb"`
	Path     string  `json:"container_path"`
	Shared   bool    `json:"shared"`
	Used     bool    `json:"used"`
	resource *mesosv1.Resource
}

// volumesOn lists a node's volumes.
func volumesOn(n *resourceNode) (all []volumeLine) {
	volume := func(r *mesosv1.Resource) (id, role string) {
		if s := r.GetReservations(); len(s) > 0 {
			role = s[len(s)-1].GetRole()
		}
		return r.GetDisk().GetPersistence().GetId(), role
	}
	for _, r := range n.GetTotalResources() {
		id, role := volume(r)
		if id == "" {
			continue
		}
		used := slices.ContainsFunc(n.GetAllocatedResources(), func(x *mesosv1.Resource) bool {
			otherID, otherRole := volume(x)
			return otherID == id && otherRole == role
		})
		all = append(all, volumeLine{
			nodeID(n), n.GetAgentInfo().GetHostname(), id, role, r.GetScalar().GetValue(), r.GetDisk().GetVolume().GetContainerPath(), r.GetShared() != nil, used, r,
		})
	}
	return all
}

func (a *App) volumeCommand() *cobra.Command {
	volume := &cobra.Command{Use: "volume", Short: "Persistent volumes: data that outlives tasks", Args: cobra.NoArgs, RunE: help}
	volume.AddCommand(a.volumeCreate(), a.volumeRm(), a.volumeLs())
	return volume
}

func (a *App) volumeLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the volumes", Example: "  pando volume ls\n  pando volume ls -o json | jq '.[] | select(.used | not).id'", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, all, err := a.resourceNodes(cmd.Context())
			if err != nil {
				return err
			}
			lines := []volumeLine{}
			for _, n := range all {
				lines = append(lines, volumesOn(n)...)
			}
			return a.show(lines, func(w io.Writer) {
				row(w, "NODE", "VOLUME", "ROLE", "SIZE", "PATH IN TASKS", "SHARED", "USED")
				yes := map[bool]string{true: "yes", false: "no"}
				for _, v := range lines {
					row(w, v.Hostname, v.ID, v.Role, size(v.MB), v.Path, yes[v.Shared], yes[v.Used])
				}
			})
		},
	}
}

func (a *App) volumeCreate() *cobra.Command {
	var role, path, principal string
	var mb float64
	var shared bool
	create := &cobra.Command{
		Use:   "create NODE VOLUME --role ROLE --size MB --path PATH",
		Short: "Make a volume of disk that is reserved for a role",
		Long: "Make a volume of disk that is reserved for a role (`pando reserve NODE disk:MB --role ROLE`). Frameworks of the role are offered it; " +
			"a task that takes it finds its data at PATH in its sandbox. The data stays until the volume is removed. " + nodeNames,
		Example:           "  pando volume create node-1 db-0 --role db --size 4096 --path data\n  pando volume create node-1 assets --role web --size 100 --path assets --shared",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, n, err := a.resourceNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var made *mesosv1.Resource
			for _, r := range n.GetTotalResources() {
				s := r.GetReservations()
				if r.GetName() == "disk" && len(s) > 0 && s[len(s)-1].GetRole() == role && r.GetDisk().GetPersistence() == nil && r.GetScalar().GetValue() >= mb {
					made = proto.CloneOf(r)
					break
				}
			}
			if made == nil {
				return fault.New(fault.Conflict, "%s has no %s of disk reserved for %s that no volume is made of; `pando reserve %s disk:%s --role %s` does that",
					n.GetAgentInfo().GetHostname(), size(mb), role, args[0], number(mb), role)
			}
			made.AllocationInfo = nil
			made.Scalar = &mesosv1.Value_Scalar{Value: &mb}
			if made.Disk == nil {
				made.Disk = &mesosv1.Resource_DiskInfo{}
			}
			made.Disk.Persistence = &mesosv1.Resource_DiskInfo_Persistence{Id: &args[1]}
			if principal != "" {
				made.Disk.Persistence.Principal = &principal
			}
			made.Disk.Volume = &mesosv1.Volume{ContainerPath: &path, Mode: mesosv1.Volume_RW.Enum()}
			if shared {
				made.Shared = &mesosv1.Resource_SharedInfo{}
			}
			_, err = o.Call(cmd.Context(), &master.Call{
				Type: master.Call_CREATE_VOLUMES.Enum(), CreateVolumes: &master.Call_CreateVolumes{AgentId: n.GetAgentInfo().GetId(), Volumes: []*mesosv1.Resource{made}},
			})
			if err != nil {
				return err
			}
			return a.show(map[string]string{"agent_id": nodeID(n), "id": args[1], "role": role}, func(w io.Writer) {
				fmt.Fprintf(w, "volume %s of %s is made on %s for %s\n", args[1], size(mb), n.GetAgentInfo().GetHostname(), role)
			})
		},
	}
	create.Flags().StringVar(&role, "role", "", "the role that it is for, which has the disk reserved")
	create.Flags().Float64Var(&mb, "size", 0, "how large it is, in `MB`")
	create.Flags().StringVar(&path, "path", "", "where tasks find it, below their sandbox")
	create.Flags().BoolVar(&shared, "shared", false, "let several tasks use it at a time")
	create.Flags().StringVar(&principal, "principal", "", "who makes it")
	for _, f := range []string{"role", "size", "path"} {
		_ = create.MarkFlagRequired(f)
	}
	return create
}

// completeVolumes offers the nodes to the shell, and then the volumes of the one that was chosen.
func (a *App) completeVolumes(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeNodes(cmd, args, begun)
	}
	var out []string
	if _, n, err := a.resourceNode(cmd.Context(), args[0]); err == nil {
		for _, v := range volumesOn(n) {
			if strings.HasPrefix(v.ID, begun) {
				out = append(out, v.ID)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *App) volumeRm() *cobra.Command {
	var role string
	rm := &cobra.Command{
		Use:               "rm NODE VOLUME",
		Short:             "Remove a volume and its data",
		Long:              "Remove a volume and its data. One that a task uses is not removed. The disk stays reserved; `pando unreserve` gives it back. " + nodeNames,
		Example:           "  pando volume rm node-1 db-0\n  pando volume rm node-1 data --role web",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeVolumes,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, n, err := a.resourceNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			found := slices.DeleteFunc(volumesOn(n), func(v volumeLine) bool { return v.ID != args[1] || role != "" && v.Role != role })
			switch len(found) {
			case 0:
				return fault.New(fault.NotFound, "%s has no volume %q; see `pando volume ls`", n.GetAgentInfo().GetHostname(), args[1])
			case 1:
			default:
				return fault.New(fault.NotFound, "%s has a volume %q of several roles; say --role", n.GetAgentInfo().GetHostname(), args[1])
			}
			v := proto.CloneOf(found[0].resource)
			v.AllocationInfo = nil
			_, err = o.Call(cmd.Context(), &master.Call{
				Type: master.Call_DESTROY_VOLUMES.Enum(), DestroyVolumes: &master.Call_DestroyVolumes{AgentId: n.GetAgentInfo().GetId(), Volumes: []*mesosv1.Resource{v}},
			})
			if err != nil {
				return err
			}
			return a.show(map[string]string{"agent_id": nodeID(n), "id": args[1], "role": found[0].Role}, func(w io.Writer) {
				fmt.Fprintf(w, "volume %s of %s is removed, and its data with it\n", args[1], n.GetAgentInfo().GetHostname())
			})
		},
	}
	rm.Flags().StringVar(&role, "role", "", "the role that it is for, where several have one of this name")
	return rm
}
