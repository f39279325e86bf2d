// Package host knows the machine the agent is on: its users, its processes, its boot, its resources and what of them is in
// use. Everything it can refuse, it refuses with the reason and the remedy.
package host

import (
	"fmt"
	"os/user"
	"strconv"
)

// User is an identity a process can take on.
type User struct {
	Name     string // empty for a number that has no entry
	UID, GID uint32
	Groups   []uint32 // supplementary, the primary one included
}

// UnknownUserError says that there is no such user.
type UnknownUserError struct {
	Name string
	Err  error
}

func (e *UnknownUserError) Error() string {
	return fmt.Sprintf("user %q does not exist on this agent; create it there, or set another in CommandInfo.user or FrameworkInfo.user", e.Name)
}

func (e *UnknownUserError) Unwrap() error { return e.Err }

// LookupUser finds a user by name, or by number, which needs no entry: then there are no supplementary groups and the
// group has the same number.
func LookupUser(name string) (User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		n, perr := strconv.ParseUint(name, 10, 32)
		if perr != nil || n == 1<<32-1 { // all ones means "leave as it is" to the kernel
			return User{}, &UnknownUserError{name, err}
		}
		if u, err = user.LookupId(name); err != nil {
			return User{UID: uint32(n), GID: uint32(n), Groups: []uint32{}}, nil //nolint:nilerr // a number needs no entry
		}
	}
	out := User{Name: u.Username}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return User{}, &UnknownUserError{name, fmt.Errorf("its ids %s and %s are no numbers", u.Uid, u.Gid)}
	}
	out.UID, out.GID = uint32(uid), uint32(gid)
	groups, err := u.GroupIds()
	if err != nil {
		return User{}, fmt.Errorf("list the groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			out.Groups = append(out.Groups, uint32(n))
		}
	}
	return out, nil
}
