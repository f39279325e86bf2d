//go:build !unix

package etcd

import "github.com/pando-os/pando/internal/fault"

// lock refuses: masters run on Unix systems, other systems carry agents only.
func lock(string) (func(), error) {
	return nil, fault.New(fault.Unavailable, "the embedded store runs on Unix systems only: use --store=etcd://HOST:PORT")
}
