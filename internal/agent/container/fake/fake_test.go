package fake_test

import (
	"testing"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/containertest"
	"github.com/pando-os/pando/internal/agent/container/fake"
)

func TestFakeKeepsTheContractOfContainers(t *testing.T) {
	containertest.Suite(t, func(*testing.T) containertest.Rig {
		m := fake.NewMachine(nil)
		return containertest.Rig{
			Open:    func() container.Runtime { return m.Open() },
			Sandbox: func(string) string { return "/nowhere" },
		}
	})
}
