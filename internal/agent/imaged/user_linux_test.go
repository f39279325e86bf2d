package imaged

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/dockertask"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/image"
)

func TestAContainerRunsAsTheUserOfItsImageOrOfItsParameters(t *testing.T) {
	store := t.TempDir()
	for name, text := range map[string]string{
		"base/etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:101:102::/srv/web:/bin/sh\nlow:x:-1:5::/:/bin/sh\nhigh:x:4294967296:5::/:/bin/sh\n",
		"base/etc/group":  "root:x:0:\nwww:x:102:\nextra:x:103:web,other\nmore:x:104:web\n",
		"top/etc/issue":   "it is above",
	} {
		if err := os.MkdirAll(filepath.Join(store, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(store, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		image, docker string
		mesos         bool // it is of type MESOS
		uid           int
		named, others bool
		want          *host.User
		home, words   string
	}{
		"the image's, by name":               {image: "web", want: &host.User{UID: 101, GID: 102, Groups: []uint32{102, 103, 104}}, home: "/srv/web"},
		"with a group":                       {image: "web:extra", want: &host.User{UID: 101, GID: 103, Groups: []uint32{103}}, home: "/srv/web"},
		"by number":                          {image: "101", want: &host.User{UID: 101, GID: 102, Groups: []uint32{102, 103, 104}}, home: "/srv/web"},
		"numbers without entries":            {image: "7:8", want: &host.User{UID: 7, GID: 8, Groups: []uint32{8}}, home: "/"},
		"a number without a group":           {image: "7", want: &host.User{UID: 7, GID: 0, Groups: []uint32{0}}, home: "/"},
		"root":                               {image: "root", want: &host.User{Groups: []uint32{0}}, home: "/root"},
		"none in the image":                  {home: "/root"},
		"who is not there":                   {image: "nobody", words: `"nobody"`},
		"a group that is not there":          {image: "web:none", words: `"web:none"`},
		"less than a number":                 {image: "low", words: "no user's"},
		"more than a number":                 {image: "high", words: "no user's"},
		"docker's":                           {image: "7", docker: "web", want: &host.User{UID: 101, GID: 102, Groups: []uint32{102, 103, 104}}, home: "/srv/web"},
		"docker's, and a user of the task's": {image: "7", docker: "9:9", named: true, want: &host.User{UID: 9, GID: 9, Groups: []uint32{9}}, home: "/"},
		"docker's, and another user's task":  {image: "7", docker: "9:9", uid: 12, want: &host.User{UID: 9, GID: 9, Groups: []uint32{9}}, home: "/"},
		"docker's who is not there":          {docker: "nobody", words: `parameters user "nobody"`},
		"docker's of another framework":      {docker: "9", uid: 12, others: true, words: "only frameworks of root"},
		"docker's without switching":         {docker: "9", uid: -1, words: "--switch-user"},
		"a task that names its user":         {image: "7", named: true, home: "/root"},
		"a task of another user":             {image: "7", uid: 12, home: "/"},
		"another user's framework":           {image: "0", uid: 12, others: true, home: "/"},
		"another framework's that is root":   {image: "7", others: true, home: "/root"},
		"an agent that switches no users":    {image: "7", uid: -1},
		"of type MESOS":                      {image: "7", mesos: true},
	} {
		p := &Picture{Container: &mesosv1.ContainerInfo{}, image: &Image{Store: store, Layers: []string{"top", "base"}, Config: image.Config{User: c.image}}, docker: &dockertask.Task{User: c.docker}}
		if c.mesos {
			p.docker = nil
		}
		got, err := p.Runs(c.uid, c.named, !c.others)
		if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v lacks %q", name, err, c.words)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		env := map[string]string{}
		if p.Environment(env, nil); err == nil && env["HOME"] != c.home {
			t.Errorf("%s: HOME is %q", name, env["HOME"])
		}
	}
	p := &Picture{image: &Image{Store: store, Layers: []string{"gone"}, Config: image.Config{User: "7"}}, docker: &dockertask.Task{}}
	if got, err := p.Runs(0, false, true); err == nil {
		t.Errorf("an image that cannot be read has the user %v", got)
	}
}
