package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/attach"
	"github.com/pando-os/pando/internal/cli/run"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/image"
)

// runFlags are what people give to pando run.
type runFlags struct {
	cpus             float64
	mem              string
	env, uris, files []string
	user, role, name string
	instances        int
	timeout          time.Duration
	detach           bool
	pod              string
	image, hostname  string
	volumes, ports   []string
	networks         []string
	pull             bool
	input, terminal  bool
}

func (a *App) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT]...",
		Short: "Run a command on the cluster, with its output here",
		Long: `Run a command on the cluster, and end as it ends.

What it writes to standard output and error is written to ours, complete when run returns. The exit code is the
command's own, or 128 and the signal's number; 123 says that it was lost, 124 that the time limit ended it, 125 that
it never started, 130 that Ctrl-C did. With several instances every line has its number before it, and the code is
that of the lowest-numbered instance that did not end with 0.

While there is no room, run waits and says what is short. When the master goes away, run waits for it; the command
goes on. Ctrl-C kills the command. With --detach, run prints FRAMEWORK/TASK once the command is launched, and leaves.

With --image, the command runs in a container of that image, which has files and processes of its own; what is in the
sandbox is at /mnt/mesos/sandbox. Without a command it is the image's own; with one, it takes the place of that.

With --network, it has a network of its own: bridge, which every node has, none, or one of the node's CNI plugins by its
name; given again, it joins several. --publish has a port of the node lead to one of its own, and run says which.

With --pod, run takes no command but a file in YAML or JSON with several tasks, which run on one node together or not
at all. Every line has its task's name before it. When one task does not end well the cluster ends the others, and the
code is that of the first. Such a file:

  name: web
  executor: {cpus: 0.1, mem: 32MB, disk: 10MB}   # what the pod needs beside its tasks; this is what it has if left out
  tasks:
    - name: server
      command: exec python3 -m http.server 8000
      cpus: 0.2                                  # 0.1 if left out
      mem: 256MB                                 # 128MB if left out
      env: {MODE: test}
      uris: ["https://example.org/site.tar.gz"]
    - name: probe
      command: sleep 1; curl -f localhost:8000`,
		Example: `  pando run -- sh -c 'echo hello from $(hostname)'
  pando run --cpus 2 --mem 1GB --uri https://example.org/data.tar.gz -- ./data/work
  pando run --instances 3 -- sh -c 'echo I am $PANDO_INSTANCE'
  pando run --detach --name web -- python3 -m http.server 8000
  pando run --image debian:12 -- cat /etc/os-release
  pando run --image docker-archive:app.tar
  pando run --image nginx --volume /srv/site:/usr/share/nginx/html:ro --detach
  pando run --image nginx --network bridge -p 80
  pando run --image debian:12 -it -- bash
  pando run --pod web.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.pod != "" {
				return cobra.NoArgs(cmd, args)
			}
			if f.image != "" {
				return nil // it says itself what to run
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := a.find()
			if err != nil {
				return err
			}
			var pod *run.Pod
			if f.pod != "" {
				if pod, args, err = f.readPod(cmd); err != nil {
					return err
				}
			}
			options, err := f.options(args, a.Getenv)
			if err != nil {
				return err
			}
			interrupt, stop := a.Interrupts()
			defer stop()
			options.Pod = pod
			options.Masters, options.Interrupt, options.Clock = found.Masters, interrupt, a.Clock
			options.Stdout, options.Stderr = a.Out, a.Err
			if f.terminal {
				if err := f.sitAt(os.Stdin, &options, a); err != nil {
					return err
				}
			}
			options.Say = func(format string, args ...any) {
				fmt.Fprintf(a.Err, "pando run: "+format+"\n", args...)
			}
			result, err := run.Run(cmd.Context(), options)
			if err != nil {
				return err
			}
			if f.detach {
				for _, t := range result.Tasks {
					fmt.Fprintln(a.Out, t)
				}
			}
			if result.Code != 0 {
				return exit{result.Code}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command's name is the command's
	flags.Float64Var(&f.cpus, "cpus", 0.1, "processors for each instance")
	flags.StringVar(&f.mem, "mem", "128MB", "memory for each instance, as 512, 512MB or 2GB")
	flags.StringArrayVar(&f.env, "env", nil, "set a variable, `NAME=VALUE`; NAME alone takes the value from here")
	flags.StringArrayVar(&f.uris, "uri", nil, "fetch this `URI` into the sandbox; archives are unpacked")
	flags.StringArrayVar(&f.files, "file", nil, "copy this `FILE` of this machine into the sandbox; runs on a node of this machine only")
	flags.StringVar(&f.user, "user", "", "run as this user (default: who you are)")
	flags.StringVar(&f.role, "role", "*", "take resources of this role")
	flags.StringVar(&f.name, "name", "", "name of the task (default: the command's)")
	flags.IntVar(&f.instances, "instances", 1, "how many to run at the same time")
	flags.DurationVar(&f.timeout, "timeout", 0, "kill the command after this time, waiting included; 0: never")
	flags.BoolVar(&f.detach, "detach", false, "leave once the command is launched")
	flags.StringVar(&f.image, "image", "", "run in a container of this image, as `NAME[:TAG]`, REGISTRY/NAME or with @DIGEST; or root, of a file of the node: oci:DIR[:TAG], docker-archive:FILE[:NAME:TAG]")
	flags.BoolVar(&f.pull, "pull", false, "ask the registry for the image even if the node has it")
	flags.StringArrayVar(&f.volumes, "volume", nil, "with --image: show a path of the node, `HOST:CONTAINER[:ro]`; a relative HOST is in the sandbox")
	flags.StringVar(&f.hostname, "hostname", "", "with --image: the container's own name")
	flags.BoolVarP(&f.input, "interactive", "i", false, "with -t: pass on what you type")
	flags.BoolVarP(&f.terminal, "tty", "t", false, "give the command a terminal, which is this one")
	flags.StringArrayVar(&f.networks, "network", nil, "join this `NETWORK`: bridge, none, or a name of the node's (default: the node's own, host)")
	flags.StringArrayVarP(&f.ports, "publish", "p", nil, "lead a port of the node to the container's, `[HOST:]CONTAINER[/udp]`; without HOST any that is free")
	flags.StringVar(&f.pod, "pod", "", "run the tasks of this `FILE` together")
	return cmd
}

// sitAt gives the command a terminal like the one that a person sits at, and connects the two.
func (f *runFlags) sitAt(stdin *os.File, o *run.Options, a *App) error {
	if !attach.IsTerminal(stdin) {
		return fault.New(fault.Invalid, "standard input is no terminal; leave -t out")
	}
	if o.Container == nil {
		o.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()}
	}
	o.Container.TtyInfo = attach.Terminal(stdin)
	if kind := a.Getenv("TERM"); kind != "" {
		o.Env = append([]*mesosv1.Environment_Variable{{Name: new("TERM"), Value: &kind}}, o.Env...)
	}
	o.Terminal = func(ctx context.Context, agent *client.Agent, id *mesosv1.ContainerID) (bool, error) {
		return attach.Show(ctx, attach.Options{
			Agent: agent.Containers(), Stdin: stdin, Stdout: a.Out, Stderr: a.Err, Input: f.input, Terminal: true,
		}, id)
	}
	return nil
}

// readPod reads the pod's file. What stands for a command gives the run its name.
func (f *runFlags) readPod(cmd *cobra.Command) (*run.Pod, []string, error) {
	for _, other := range []string{"cpus", "mem", "env", "uri", "file", "instances", "image", "volume", "hostname", "pull", "network", "publish", "tty"} {
		if cmd.Flags().Changed(other) {
			return nil, nil, fault.New(fault.Invalid, "--%s does not go with --pod: say it in the file, of each task", other)
		}
	}
	pod, name, err := readPod(f.pod)
	return pod, []string{cmp.Or(name, "pod")}, err
}

// options checks what was given and makes it what package run takes.
func (f *runFlags) options(argv []string, getenv func(string) string) (run.Options, error) {
	mem, err := parseMem(f.mem)
	if err != nil {
		return run.Options{}, err
	}
	o := run.Options{
		Argv: argv, Need: run.NewNeed(f.cpus, mem), Name: f.name, User: f.user, Role: f.role, Instances: f.instances,
		Timeout: f.timeout, Detach: f.detach, Here: len(f.files) > 0,
	}
	switch {
	case f.cpus < 0.001 || f.cpus > 1e6 || math.IsNaN(f.cpus):
		return o, fault.New(fault.Invalid, "--cpus is %v: give it 0.001 or more", f.cpus)
	case f.instances < 1 || f.instances > 10000:
		return o, fault.New(fault.Invalid, "--instances is %d: give it 1 to 10000", f.instances)
	case f.timeout < 0:
		return o, fault.New(fault.Invalid, "--timeout is %v: give it a time like 30s, or 0 for none", f.timeout)
	case f.input && !f.terminal:
		return o, fault.New(fault.Invalid, "-i goes with -t: a command without a terminal reads nothing; give it -it, or files by --file and --uri")
	case f.terminal && (f.detach || f.instances > 1):
		return o, fault.New(fault.Invalid, "-t is for one person at one command: leave out --detach and --instances")
	case f.timeout > 0 && f.detach:
		return o, fault.New(fault.Invalid, "--timeout needs somebody who waits: leave out --detach")
	}
	if o.Container, err = f.container(); err != nil {
		return o, err
	}
	if o.Container, o.Need.Ports, err = f.network(o.Container); err != nil {
		return o, err
	}
	if o.Name == "" {
		o.Name = nameOf(append(slices.Clone(argv), f.image)[0])
	} else if o.Name != nameOf(o.Name) {
		return o, fault.New(fault.Invalid, "--name is %q: give it letters, digits, dots, dashes and underscores", o.Name)
	}
	if o.User == "" {
		u, err := user.Current()
		if err != nil {
			return o, fault.New(fault.Invalid, "who you are is not known: give --user: %w", err)
		}
		o.User = u.Username
	}
	for _, e := range f.env {
		name, value, given := strings.Cut(e, "=")
		if !given {
			value = getenv(name)
		}
		if name == "" {
			return o, fault.New(fault.Invalid, "--env is %q: give it NAME=VALUE", e)
		}
		o.Env = append(o.Env, &mesosv1.Environment_Variable{Name: &name, Value: &value})
	}
	for _, uri := range f.uris {
		o.URIs = append(o.URIs, &mesosv1.CommandInfo_URI{Value: &uri})
	}
	for _, file := range f.files {
		uri, err := localFile(file)
		if err != nil {
			return o, err
		}
		o.URIs = append(o.URIs, uri)
	}
	return o, nil
}

// imageName makes the path of an image in a file absolute: a node knows nothing of where this process is.
func imageName(name string) (string, error) {
	l, ok := image.SplitLocal(name)
	if !ok {
		return name, nil
	}
	if l.Path == "" {
		return "", fault.New(fault.Invalid, "--image is %q: give it oci:DIR[:TAG] or docker-archive:FILE[:NAME:TAG]", name)
	}
	var err error
	if l.Path, err = filepath.Abs(l.Path); err == nil && strings.Contains(l.Path, ":") {
		err = fault.New(fault.Invalid, "--image is %q: the path %s has a colon, which divides it from the image's name; use another path", name, l.Path)
	}
	return l.String(), err
}

// container makes what the flags say of one; nil: nothing.
func (f *runFlags) container() (*mesosv1.ContainerInfo, error) {
	if f.image == "" {
		for flag, given := range map[string]bool{"volume": len(f.volumes) > 0, "hostname": f.hostname != "" && len(f.networks) == 0, "pull": f.pull} {
			if given {
				return nil, fault.New(fault.Invalid, "--%s needs --image: a command without an image has the node's files", flag)
			}
		}
		return nil, nil //nolint:nilnil // there is none, and nothing is wrong
	}
	name, err := imageName(f.image)
	if err != nil {
		return nil, err
	}
	c := &mesosv1.ContainerInfo{
		Type: mesosv1.ContainerInfo_MESOS.Enum(), Mesos: &mesosv1.ContainerInfo_MesosInfo{Image: &mesosv1.Image{
			Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: &name}, Cached: new(!f.pull),
		}},
	}
	for _, text := range f.volumes {
		parts := strings.Split(text, ":")
		v := &mesosv1.Volume{Mode: mesosv1.Volume_RW.Enum()}
		switch {
		case len(parts) == 3 && parts[2] == "ro":
			v.Mode = mesosv1.Volume_RO.Enum()
		case len(parts) != 2:
			return nil, fault.New(fault.Invalid, "--volume is %q: give it HOST:CONTAINER or HOST:CONTAINER:ro", text)
		}
		if parts[0] == "" || !path.IsAbs(parts[1]) {
			return nil, fault.New(fault.Invalid, "--volume is %q: the path in the container must be absolute", text)
		}
		v.HostPath, v.ContainerPath = &parts[0], &parts[1]
		c.Volumes = append(c.Volumes, v)
	}
	return c, nil
}

// localFile makes the URI of a file of this machine, which keeps its name and whether it can be run.
func localFile(name string) (*mesosv1.CommandInfo_URI, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "--file %s: %w", name, err)
	}
	info, err := os.Stat(full)
	if err != nil {
		return nil, fault.New(fault.Invalid, "--file %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Invalid, "--file %s is no plain file: pack a directory with tar and use --uri", name)
	}
	return &mesosv1.CommandInfo_URI{
		Value: new("file://" + filepath.ToSlash(full)), Extract: new(false), Executable: new(info.Mode()&0o111 != 0),
	}, nil
}

var unnamed = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// nameOf makes a task's name of a command: its last part, without what ids may not hold.
func nameOf(command string) string {
	name := strings.Trim(unnamed.ReplaceAllString(path.Base(filepath.ToSlash(command)), "-"), "-.")
	if name == "" {
		return "task"
	}
	return name
}

// parseMem reads an amount of memory in MB: a number, or one with its unit.
func parseMem(text string) (float64, error) {
	n, ok := megabytes(text)
	if !ok {
		return 0, fault.New(fault.Invalid, "--mem is %q: give it an amount like 512, 512MB or 2GB", text)
	}
	return n, nil
}

// megabytes reads an amount in MB; ok is false for what is none.
func megabytes(text string) (mb float64, ok bool) {
	digits := strings.TrimRight(text, "BKMGTikmgtb ")
	n, err := strconv.ParseFloat(digits, 64)
	units := map[string]float64{"": 1, "mb": 1, "m": 1, "mib": 1, "gb": 1024, "g": 1024, "gib": 1024, "kb": 1. / 1024, "k": 1. / 1024, "tb": 1 << 20, "t": 1 << 20}
	factor, known := units[strings.ToLower(strings.TrimSpace(text[len(digits):]))]
	if err != nil || !known || !(n > 0) || math.IsInf(n, 0) || n*factor < 0.001 || n*factor > 1e12 {
		return 0, false
	}
	return n * factor, true
}
