//go:build !unix

package sandbox

import "io/fs"

const nonblock = 0

func isNotDir(error) bool { return false }

func sysInfo(fs.FileInfo) (nlink uint64, uid, gid uint32) { return 1, 0, 0 }
