// Package e2e tests the real binary whole: it is started, killed, swapped for another build, lied to and starved, with
// schedulers connected and tasks running, and nothing may be lost, doubled or left behind.
package e2e
