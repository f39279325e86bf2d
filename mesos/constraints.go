package mesos

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// The limits of a constraint's regular expression: its length in bytes, and the steps of the
// program that it compiles to. They stand for the original's --offer_constraints_re2_max_mem and
// --offer_constraints_re2_max_program_size.
const (
	maxRegexLength  = 4096
	maxRegexProgram = 100
)

// Constraints are a framework's offer constraints, ready to be asked. They never change, so any
// number of goroutines may ask. A nil *Constraints admits everything.
type Constraints struct {
	roles map[string][]group // an agent is admitted when any group is
}

// group admits when all of its constraints do.
type group []constraint

type constraint struct {
	pseudo    scheduler.AttributeConstraint_Selector_PseudoattributeType // UNKNOWN: by attribute
	attribute string
	// absent, and text with the value, answer for what the selector finds; what is found and is no
	// text is admitted by every predicate on text, so the scheduler still has to look itself.
	absent  bool
	notText bool
	text    func(string) bool
}

// CompileConstraints makes c ready, for a framework in roles. Refused: groups or constraints that
// are missing or empty, roles that the framework is not in, selectors and predicates without
// their member, regular expressions that are none of RE2 or above the limits.
func CompileConstraints(c *scheduler.OfferConstraints, roles []string) (*Constraints, error) {
	if len(c.GetRoleConstraints()) == 0 {
		return nil, nil
	}
	out := &Constraints{roles: make(map[string][]group, len(c.GetRoleConstraints()))}
	for _, role := range sortedKeys(c.GetRoleConstraints()) {
		field := "offer_constraints.role_constraints." + role
		if !slices.Contains(roles, role) {
			return nil, fmt.Errorf("%s: the framework is not in that role; constrain roles of its own", field)
		}
		groups := c.GetRoleConstraints()[role].GetGroups()
		if len(groups) == 0 {
			return nil, fmt.Errorf("%s.groups: is empty; leave the role out to take every offer", field)
		}
		for i, g := range groups {
			if len(g.GetAttributeConstraints()) == 0 {
				return nil, fmt.Errorf("%s.groups[%d].attribute_constraints: is empty; leave the role out to take every offer", field, i)
			}
			var compiled group
			for j, a := range g.GetAttributeConstraints() {
				one, err := compile(a)
				if err != nil {
					return nil, fmt.Errorf("%s.groups[%d].attribute_constraints[%d].%w", field, i, j, err)
				}
				compiled = append(compiled, one)
			}
			out.roles[role] = append(out.roles[role], compiled)
		}
	}
	return out, nil
}

func compile(a *scheduler.AttributeConstraint) (c constraint, err error) {
	s, p := a.GetSelector(), a.GetPredicate()
	c.attribute, c.pseudo = s.GetAttributeName(), s.GetPseudoattributeType()
	if c.attribute == "" && c.pseudo == scheduler.AttributeConstraint_Selector_UNKNOWN {
		return c, errors.New("selector: needs an attribute_name or a known pseudoattribute_type; correct it")
	}
	c.notText = true
	switch {
	case p.GetExists() != nil:
		c.text = func(string) bool { return true }
	case p.GetNotExists() != nil:
		c.absent, c.notText, c.text = true, false, func(string) bool { return false }
	case p.GetTextEquals() != nil:
		want := p.GetTextEquals().GetValue()
		c.text = func(s string) bool { return s == want }
	case p.GetTextNotEquals() != nil:
		want := p.GetTextNotEquals().GetValue()
		c.absent, c.text = true, func(s string) bool { return s != want }
	case p.GetTextMatches() != nil:
		matches, err := compileRegex(p.GetTextMatches().GetRegex())
		if err != nil {
			return c, at("predicate.text_matches.regex", err)
		}
		c.text = matches
	case p.GetTextNotMatches() != nil:
		matches, err := compileRegex(p.GetTextNotMatches().GetRegex())
		if err != nil {
			return c, at("predicate.text_not_matches.regex", err)
		}
		c.absent, c.text = true, func(s string) bool { return !matches(s) }
	default:
		return c, errors.New("predicate: has no member that is known here; give one like exists or text_equals")
	}
	return c, nil
}

// compileRegex compiles an expression into a test for texts that it matches as a whole.
func compileRegex(text string) (func(string) bool, error) {
	if len(text) > maxRegexLength {
		return nil, fmt.Errorf("has %d bytes, of at most %d; shorten it", len(text), maxRegexLength)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("%w; write it in the syntax of RE2", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("%w; write it in the syntax of RE2", err)
	}
	if n := len(program.Inst); n > maxRegexProgram {
		return nil, fmt.Errorf("takes %d steps, of at most %d; simplify it", n, maxRegexProgram)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	re.Longest() // a match of the whole is then the one that is found
	return func(s string) bool {
		found := re.FindStringIndex(s)
		return found != nil && found[0] == 0 && found[1] == len(s)
	}, nil
}

// Admit tells whether an agent may be offered in that role. region and zone are "" where the agent
// has no fault domain; of attributes with one name the first holds.
func (c *Constraints) Admit(role, hostname, region, zone string, attributes []*mesosv1.Attribute) bool {
	if c == nil {
		return true
	}
	groups, constrained := c.roles[role]
	if !constrained {
		return true
	}
	for _, g := range groups {
		if g.admit(hostname, region, zone, attributes) {
			return true
		}
	}
	return false
}

func (g group) admit(hostname, region, zone string, attributes []*mesosv1.Attribute) bool {
	for i := range g {
		if !g[i].admit(hostname, region, zone, attributes) {
			return false
		}
	}
	return true
}

func (c *constraint) admit(hostname, region, zone string, attributes []*mesosv1.Attribute) bool {
	switch c.pseudo {
	case scheduler.AttributeConstraint_Selector_HOSTNAME:
		return c.text(hostname)
	case scheduler.AttributeConstraint_Selector_REGION:
		return c.domain(region)
	case scheduler.AttributeConstraint_Selector_ZONE:
		return c.domain(zone)
	}
	for _, a := range attributes {
		if a.GetName() != c.attribute {
			continue
		}
		if a.GetType() != mesosv1.Value_TEXT {
			return c.notText
		}
		return c.text(a.GetText().GetValue())
	}
	return c.absent
}

func (c *constraint) domain(name string) bool {
	if name == "" {
		return c.absent
	}
	return c.text(name)
}
