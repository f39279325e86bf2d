//go:build !linux

package host

import "runtime"

// CPUs counts the cpus this process may run on.
func CPUs() int { return runtime.NumCPU() }

// Memory is not known here.
func Memory() (total, available uint64, err error) { return 0, 0, errLinux }

// Load is not known here.
func Load() ([3]float64, error) { return [3]float64{}, errLinux }

// DiskOf is not known here.
func DiskOf(string) (Disk, error) { return Disk{}, errLinux }

// MostProcesses is not known here.
func MostProcesses() int { return 0 }
