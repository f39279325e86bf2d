// Command probe makes system calls and prints the error number of each: the calls are lines of a number and up to six
// arguments in the file that it is called with. What a call returns otherwise is not told, since it differs from run to run.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var lines []string
	for s := bufio.NewScanner(file); s.Scan(); {
		lines = append(lines, s.Text())
	}
	file.Close()
	out := bufio.NewWriter(os.Stdout)
	for _, line := range lines {
		var v [7]uintptr
		for i, word := range strings.Fields(line) {
			n, err := strconv.ParseUint(word, 0, 64)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			v[i] = uintptr(n)
		}
		_, _, errno := syscall.RawSyscall6(v[0], v[1], v[2], v[3], v[4], v[5], v[6])
		fmt.Fprintln(out, line, "->", int(errno))
	}
	out.Flush()
}
