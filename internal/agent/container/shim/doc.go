// Package shim is the body of the launcher: the supervisor of a group of containers, which owns their output, kills, exit
// records and cgroups and outlives the agent, and the first process inside each. One goroutine, on the main thread, owns
// all state and does all forking and reaping; the others only copy bytes and hand it closures.
package shim
