// Package rotation says how the output of containers is kept in files: the operator's rule, and what a task says of its own by
// variables of its environment, as the original's logrotate logger takes them.
package rotation

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/mesos"
)

// Rule is how a container's output is kept. The zero value is the default.
type Rule struct{ Stdout, Stderr container.Log }

const (
	// prefix begins the names of the variables.
	prefix = "CONTAINER_LOGGER_"
	// minSize is the original's: a page. A file of less would be renamed all the time.
	minSize = 4 << 10
	// maxFiles bounds the old files, each of which is renamed whenever a file is full.
	maxFiles = 100
)

// New makes the rule of an operator's settings: a size as 10MB, empty for the default, and how many old files are kept.
func New(size string, files int) (Rule, error) {
	l := container.Log{}
	var err error
	if size != "" {
		if l.Bytes, err = parseSize(size); err != nil {
			return Rule{}, fmt.Errorf("--log-rotate-size: %w", err)
		}
	}
	if l.Files, err = keep(int64(files)); err != nil {
		return Rule{}, fmt.Errorf("--log-rotate-files: %w", err)
	}
	return Rule{l, l}, nil
}

// Of is the rule of a command, which may say of its own what is another.
func (r Rule) Of(c *mesosv1.CommandInfo) (Rule, error) {
	for _, v := range c.GetEnvironment().GetVariables() {
		name, ours := strings.CutPrefix(v.GetName(), prefix)
		if !ours {
			continue
		}
		if err := r.set(name, mesos.ValueOf(v)); err != nil {
			return r, fmt.Errorf("the variable %s: %w", v.GetName(), err)
		}
	}
	return r, nil
}

// set takes what a variable says. DC/OS names sizes with LOGROTATE_ before them.
func (r *Rule) set(name, value string) (err error) {
	switch strings.TrimPrefix(name, "LOGROTATE_") {
	case "MAX_STDOUT_SIZE":
		r.Stdout.Bytes, err = parseSize(value)
	case "MAX_STDERR_SIZE":
		r.Stderr.Bytes, err = parseSize(value)
	case "STDOUT_OPTIONS":
		err = options(&r.Stdout, value)
	case "STDERR_OPTIONS":
		err = options(&r.Stderr, value)
	case "DESTINATION_TYPE":
		if !slices.Contains(strings.Split(value, "+"), "logrotate") {
			err = fmt.Errorf("%q is not supported: output is kept in files; say logrotate, or leave it out", value)
		}
	default:
		err = errors.New("there is no such setting; there are MAX_STDOUT_SIZE, MAX_STDERR_SIZE, LOGROTATE_STDOUT_OPTIONS and LOGROTATE_STDERR_OPTIONS")
	}
	return err
}

// options reads logrotate's lines. What it does anyway may be said.
func options(l *container.Log, text string) error {
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == ';' }) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0, len(words) == 1 && slices.Contains([]string{"missingok", "nocompress", "nodateext", "nomail", "notifempty"}, words[0]):
			continue
		case len(words) != 2 || words[0] != "rotate":
			return fmt.Errorf("the option %q is not supported; there is rotate N", strings.TrimSpace(line))
		}
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return fmt.Errorf("rotate %q is no number", words[1])
		}
		if l.Files, err = keep(n); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	return nil
}

// keep is so many old files as a container's description says it, where 0 is the default.
func keep(files int64) (int64, error) {
	switch {
	case files < 0 || files > maxFiles:
		return 0, fmt.Errorf("%d old files are not possible; give 0 to %d", files, maxFiles)
	case files == 0:
		return container.NoOldLogs, nil
	}
	return files, nil
}

// parseSize reads a number of bytes with its unit, as the original does: of 1024 each.
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "BKMGTbkmgt ")
	units := map[string]int64{"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
	unit, known := units[strings.ToUpper(strings.TrimSpace(text[len(digits):]))]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is no size; give one as 512KB or 10MB", text)
	}
	if n *= unit; n < minSize {
		return 0, fmt.Errorf("%q is less than a file can be rotated at; give 4KB or more", text)
	}
	return n, nil
}
