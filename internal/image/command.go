package image

import "github.com/pando-os/pando/internal/image/failure"

// Command is what a container of an image runs: the path of a program inside it and its whole argument vector, argv[0]
// included. shell, value and args are CommandInfo's fields of the same names (shell is true where nobody says otherwise);
// the rules are those of the original's docker/runtime isolator:
//
//	shell, value       /bin/sh -c value; args and the image are ignored
//	value              value with args, whose first is argv[0]; the image is ignored
//	args only          Entrypoint and args; Cmd[0] and args where there is no Entrypoint
//	nothing            Entrypoint and Cmd
//
// The path may be a name without a slash, to be found in the PATH of the container. Nothing to run is a failure.Invalid.
func Command(shell bool, value string, args []string, image Config) (path string, argv []string, err error) {
	switch {
	case shell && value == "":
		return "", nil, failure.New(failure.Invalid, "command.value is empty: give a shell command, or set command.shell to false to run what the image says")
	case shell:
		return "/bin/sh", []string{"sh", "-c", value}, nil
	case value != "" && len(args) == 0:
		return value, []string{value}, nil
	case value != "":
		return value, append([]string(nil), args...), nil
	case len(image.Entrypoint) > 0 && len(args) > 0:
		argv = append(append(argv, image.Entrypoint...), args...)
	case len(image.Entrypoint) > 0:
		argv = append(append(argv, image.Entrypoint...), image.Cmd...)
	case len(image.Cmd) > 0 && len(args) > 0:
		argv = append(append(argv, image.Cmd[0]), args...)
	case len(image.Cmd) > 0:
		argv = append(argv, image.Cmd...)
	default:
		return "", nil, failure.New(failure.Invalid, "nothing to run: the image has neither Entrypoint nor Cmd; set command.value")
	}
	if argv[0] == "" {
		return "", nil, failure.New(failure.Invalid, "nothing to run: the first word of the image's Entrypoint or Cmd is empty; set command.value")
	}
	return argv[0], argv, nil
}
