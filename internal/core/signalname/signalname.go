// Package signalname has the words that strsignal(3) has for signals: programs read them in TaskStatus messages, so they
// must not depend on the platform that says them.
package signalname

import "strconv"

// names are by number, on Linux.
var names = [...]string{
	1: "Hangup", "Interrupt", "Quit", "Illegal instruction", "Trace/breakpoint trap", "Aborted", "Bus error",
	"Floating point exception", "Killed", "User defined signal 1", "Segmentation fault", "User defined signal 2",
	"Broken pipe", "Alarm clock", "Terminated", "Stack fault", "Child exited", "Continued", "Stopped (signal)", "Stopped",
	"Stopped (tty input)", "Stopped (tty output)", "Urgent I/O condition", "CPU time limit exceeded",
	"File size limit exceeded", "Virtual timer expired", "Profiling timer expired", "Window changed", "I/O possible",
	"Power failure", "Bad system call",
}

// Of gives a signal's name.
func Of(signal int) string {
	if signal > 0 && signal < len(names) {
		return names[signal]
	}
	return "Unknown signal " + strconv.Itoa(signal)
}
