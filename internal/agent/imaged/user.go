package imaged

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/moby/sys/user"

	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/image/layer"
)

// maxAccounts bounds what is read of an image's /etc/passwd and /etc/group.
const maxAccounts = 4 << 20

// Runs says who a container of type DOCKER runs as, by its image's own names, in the place of its task's user: whom docker was told
// (--user) or, where the task would run as root because it names nobody, whom the image says. nil: as its task's user. uid is that
// one's, less than zero when the agent does not switch users; named says that the task names him; trusted, that root asks.
func (p *Picture) Runs(uid int, named, trusted bool) (*host.User, error) {
	switch {
	case p.docker == nil:
		return nil, nil //nolint:nilnil // nobody else, and nothing is wrong
	case p.docker.User != "" && !trusted:
		return nil, errors.New("container.docker.parameters user: only frameworks of root may name one of the image's; leave it out, and the task runs as its framework's")
	case p.docker.User != "" && uid < 0:
		return nil, errors.New("container.docker.parameters user: this agent does not switch users; leave it out, or have the operator set --switch-user")
	case p.docker.User != "":
		u, err := p.lookup(p.docker.User)
		if err != nil {
			return nil, fmt.Errorf("container.docker.parameters user %q: %w; name one that is in the image, or a number", p.docker.User, err)
		}
		return u, nil
	case p.image.Config.User == "" || named || !trusted || uid != 0:
		if uid >= 0 {
			_, _ = p.lookup(strconv.Itoa(uid)) // for his home; without one in the image it is /
		}
		return nil, nil //nolint:nilnil // likewise
	}
	u, err := p.lookup(p.image.Config.User)
	if err != nil {
		return nil, fmt.Errorf("the image says that it runs as user %q: %w; set command.user to run it as one of the machine's", p.image.Config.User, err)
	}
	return u, nil
}

// lookup finds a user of the image: NAME, UID, NAME:GROUP or UID:GID. With a group he has no other; a number needs no entry.
// His home is kept for the environment.
func (p *Picture) lookup(spec string) (*host.User, error) {
	p.home = "/"
	var dirs []string
	for _, l := range p.image.Layers {
		dirs = append(dirs, filepath.Join(p.image.Store, l))
	}
	passwd, err := layer.ReadFile(dirs, "/etc/passwd", maxAccounts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	group, err := layer.ReadFile(dirs, "/etc/group", maxAccounts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	u, err := user.GetExecUser(spec, nil, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return nil, err
	}
	out := &host.User{UID: uint32(u.Uid), GID: uint32(u.Gid)}
	for _, n := range append([]int{u.Uid, u.Gid}, u.Sgids...) {
		if n < 0 || n > math.MaxInt32 {
			return nil, fmt.Errorf("the number %d is no user's or group's", n)
		}
	}
	for _, n := range append([]int{u.Gid}, u.Sgids...) {
		if !slices.Contains(out.Groups, uint32(n)) {
			out.Groups = append(out.Groups, uint32(n))
		}
	}
	p.home = cmp.Or(u.Home, "/")
	return out, nil
}
