package imaged

import (
	"fmt"
	"sync"

	"github.com/pando-os/pando/gen/mesosv1"
)

// maxFilters bounds how many compiled filters are kept: sets of capabilities are few, and frameworks choose them.
const maxFilters = 100

// filters are the default seccomp filters for sets of capabilities, each compiled once.
type filters struct {
	mu   sync.Mutex
	made map[string][]byte
}

func (f *filters) of(caps []int) ([]byte, error) {
	key := fmt.Sprint(caps)
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.made[key]; ok {
		return b, nil
	}
	var names []string
	for _, n := range caps {
		names = append(names, "CAP_"+mesosv1.CapabilityInfo_Capability(firstCapability+n).String())
	}
	b, err := defaultFilter(names)
	if err != nil {
		return nil, err
	}
	if f.made == nil || len(f.made) >= maxFilters {
		f.made = map[string][]byte{}
	}
	f.made[key] = b
	return b, nil
}
