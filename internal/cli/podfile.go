package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/run"
	"github.com/pando-os/pando/internal/fault"
)

// podFile is the file that pando run --pod reads, as YAML or JSON.
type podFile struct {
	Name     string    `yaml:"name"`
	Executor podPart   `yaml:"executor"`
	Tasks    []podTask `yaml:"tasks"`
}

// podPart is what a part of a pod takes of its node.
type podPart struct {
	CPUs float64 `yaml:"cpus"`
	Mem  string  `yaml:"mem"`
	Disk string  `yaml:"disk"`
}

type podTask struct {
	Name    string `yaml:"name"`
	Command string `yaml:"command"`
	podPart `yaml:",inline"`
	Env     map[string]string `yaml:"env"`
	URIs    []string          `yaml:"uris"`
}

const (
	maxPodFile  = 1 << 20 // bytes
	maxPodTasks = 1000
)

// readPod reads a pod of a file, and the name that it has there; empty when it has none.
func readPod(file string) (*run.Pod, string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "--pod: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPodFile+1))
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "--pod %s: %w", file, err)
	}
	if len(b) > maxPodFile {
		return nil, "", fault.New(fault.Invalid, "--pod %s: it has more than %d bytes; put what is large into files and name them in uris", file, maxPodFile)
	}
	p, name, err := parsePod(b)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "--pod %s: %w", file, err)
	}
	return p, name, nil
}

func parsePod(b []byte) (*run.Pod, string, error) {
	var in podFile
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&in); errors.Is(err, io.EOF) {
		return nil, "", errors.New("it is empty; give it tasks")
	} else if err != nil {
		return nil, "", err
	}
	if in.Name != "" && in.Name != nameOf(in.Name) {
		return nil, "", fmt.Errorf("name: is %q; give it letters, digits, dots, dashes and underscores", in.Name)
	}
	if n := len(in.Tasks); n == 0 || n > maxPodTasks {
		return nil, "", fmt.Errorf("tasks: there are %d; give 1 to %d", n, maxPodTasks)
	}
	out := &run.Pod{}
	var err error
	if out.Need, err = in.Executor.need(podPart{0.1, "32MB", "10MB"}); err != nil {
		return nil, "", fmt.Errorf("executor.%w", err)
	}
	seen := map[string]bool{}
	for i := range in.Tasks {
		t := &in.Tasks[i]
		field := fmt.Sprintf("tasks[%d]", i)
		switch {
		case t.Name == "" || t.Name != nameOf(t.Name):
			return nil, "", fmt.Errorf("%s.name: is %q; give it letters, digits, dots, dashes and underscores", field, t.Name)
		case seen[t.Name]:
			return nil, "", fmt.Errorf("%s.name: %q is there already; give each task a name of its own", field, t.Name)
		case t.Command == "":
			return nil, "", fmt.Errorf("%s.command: is empty; say what %s runs", field, t.Name)
		}
		seen[t.Name] = true
		need, err := t.need(podPart{0.1, "128MB", ""})
		if err != nil {
			return nil, "", fmt.Errorf("%s.%w", field, err)
		}
		x := run.PodTask{Name: t.Name, Command: t.Command, Need: need, Env: variables(t.Env)}
		for _, u := range t.URIs {
			x.URIs = append(x.URIs, &mesosv1.CommandInfo_URI{Value: &u})
		}
		out.Tasks = append(out.Tasks, x)
	}
	return out, in.Name, nil
}

// need is what a part takes; what it does not say is as usual.
func (p podPart) need(usual podPart) (run.Need, error) {
	if p.CPUs == 0 {
		p.CPUs = usual.CPUs
	}
	if p.CPUs < 0.001 || p.CPUs > 1e6 || math.IsNaN(p.CPUs) {
		return run.Need{}, fmt.Errorf("cpus: is %v; give it 0.001 or more", p.CPUs)
	}
	mem, err := amountOf("mem", p.Mem, usual.Mem)
	if err != nil {
		return run.Need{}, err
	}
	disk, err := amountOf("disk", p.Disk, usual.Disk)
	return run.NewNeed(p.CPUs, mem).WithDisk(disk), err
}

func amountOf(field, text, usual string) (float64, error) {
	if text == "" {
		text = usual
	}
	if text == "" {
		return 0, nil
	}
	n, ok := megabytes(text)
	if !ok {
		return 0, fmt.Errorf("%s: is %q; give it an amount like 512, 512MB or 2GB", field, text)
	}
	return n, nil
}

// variables are in the order of their names.
func variables(env map[string]string) []*mesosv1.Environment_Variable {
	var out []*mesosv1.Environment_Variable
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, &mesosv1.Environment_Variable{Name: &name, Value: new(env[name])})
	}
	return out
}
