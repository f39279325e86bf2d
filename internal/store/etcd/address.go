package etcd

import (
	"net"
	"strings"

	"github.com/pando-os/pando/internal/fault"
)

// Endpoints reads the address of an existing cluster, "etcd://host:port,host:port", as Dial wants it. A missing port is
// etcd's 2379. Anything else is fault.Invalid.
func Endpoints(address string) ([]string, error) {
	hosts, ok := strings.CutPrefix(address, "etcd://")
	if !ok {
		return nil, fault.New(fault.Invalid, "the store's address %q does not begin with etcd://", address)
	}
	var endpoints []string
	for host := range strings.SplitSeq(hosts, ",") {
		if host = strings.TrimSpace(host); host == "" || strings.ContainsAny(host, "/@?") {
			return nil, fault.New(fault.Invalid, "the store's address %q is not of the form etcd://HOST:PORT,HOST:PORT", address)
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "2379")
		}
		endpoints = append(endpoints, host)
	}
	return endpoints, nil
}
