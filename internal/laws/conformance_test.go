package laws

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	quoted   = regexp.MustCompile("`([^`\n]+)`")
	testName = regexp.MustCompile(`^([a-z0-9]+)\.((?:Test|Fuzz)\w+)$`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	story    = regexp.MustCompile(`(?m)^## (.+)$`)
	checker  = regexp.MustCompile(`(?m)^\t\w+ = "([a-z-]+)"$`)
)

// proofs are all that docs/conformance.md may name as a proof: tests as directory.Test, stories as play:file/title, and the
// simulator's checkers as checker:name.
func proofs(root string) (map[string]bool, error) {
	there := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		play := strings.HasSuffix(path, ".txt") && strings.Contains(filepath.ToSlash(path), "core/cluster/testdata/")
		rules := strings.HasSuffix(filepath.ToSlash(path), "internal/sim/rule/rule.go")
		if err != nil || d.IsDir() || !play && !rules && !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		form, before := testFunc, filepath.Base(filepath.Dir(path))+"."
		switch {
		case play:
			form, before = story, "play:"+strings.TrimSuffix(filepath.Base(path), ".txt")+"/"
		case rules:
			form, before = checker, "checker:"
		}
		for _, m := range form.FindAllStringSubmatch(string(text), -1) {
			there[before+m[1]] = true
		}
		return nil
	})
	return there, err
}

// missing names each proof of a page that is not there, and how many the page names.
func missing(page string, there map[string]bool) (lacks []string, named int) {
	for i, line := range strings.Split(page, "\n") {
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			if !testName.MatchString(m[1]) && !strings.HasPrefix(m[1], "play:") && !strings.HasPrefix(m[1], "checker:") {
				continue
			}
			named++
			if !there[m[1]] {
				lacks = append(lacks, fmt.Sprintf("line %d names %s, which is not there: name what took its place", i+1, m[1]))
			}
		}
	}
	return lacks, named
}

func TestWhatTheConformancePageNamesIsThere(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	there, err := proofs(root)
	if err != nil {
		t.Fatal(err)
	}
	lacks, named := missing(string(page), there)
	if named < 100 {
		t.Errorf("the page names %d proofs: its form has changed, or this test reads it no more", named)
	}
	report(t, lacks)
}

func TestAProofThatIsNotThereIsFound(t *testing.T) {
	page := "`laws.TestOne` `laws.TestTwo`\n`play:tasks/A story` `play:tasks/None` `checker:one` `checker:two` `other words`"
	lacks, named := missing(page, map[string]bool{"laws.TestOne": true, "play:tasks/A story": true, "checker:one": true})
	if len(lacks) != 3 || named != 6 || !strings.HasPrefix(lacks[0], "line 1 names laws.TestTwo") {
		t.Errorf("found %q of %d", lacks, named)
	}
}
