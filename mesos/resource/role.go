package resource

import (
	"errors"
	"fmt"
	"strings"
)

// CheckRole tells whether role may be a role's name: "*" alone, or a path like "eng/web" whose
// parts are not empty, not ".", ".." or "*", do not begin with "-", and hold no white space or
// control characters.
func CheckRole(role string) error {
	switch {
	case role == "*":
		return nil
	case role == "":
		return errors.New("the role is empty; give a name, or \"*\" for the default role")
	case strings.HasPrefix(role, "/") || strings.HasSuffix(role, "/"):
		return fmt.Errorf("the role %q begins or ends with a slash; write it without", role)
	}
	for i := range len(role) {
		if c := role[i]; c <= ' ' || c == 0x7f {
			return fmt.Errorf("the role %q holds white space or a control character; leave it out", role)
		}
	}
	for rest, more := role, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		switch {
		case part == "":
			return fmt.Errorf("the role %q holds two slashes in a row; write one", role)
		case part == "." || part == ".." || part == "*":
			return fmt.Errorf("the role %q holds the part %q, which has a meaning of its own; choose another", role, part)
		case part[0] == '-':
			return fmt.Errorf("the role %q holds a part that begins with a dash; begin it with something else", role)
		}
	}
	return nil
}

// IsAncestor tells whether role lies strictly below ancestor in the tree of roles: "eng" is an
// ancestor of "eng/web".
func IsAncestor(ancestor, role string) bool {
	return len(role) > len(ancestor) && role[len(ancestor)] == '/' && role[:len(ancestor)] == ancestor
}
