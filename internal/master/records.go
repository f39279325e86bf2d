package master

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/journal"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/store"
)

// recordVersion is of the values in the store; a newer master reads older ones.
const recordVersion = 1

// load reads what the last leader saved.
func (m *Master) load(ctx context.Context) ([]cluster.Record, error) {
	var out []cluster.Record
	pairs, _, err := m.deps.Store.List(ctx, agentsKey)
	if err != nil {
		return nil, fmt.Errorf("loading agents: %w", err)
	}
	for _, p := range pairs {
		r, err := decodeAgent(p.Value)
		if err != nil {
			return nil, fmt.Errorf("the store's %s cannot be read (was it written by a newer version?): %w", p.Key, err)
		}
		out = append(out, cluster.Record{Agent: r})
	}
	if pairs, _, err = m.deps.Store.List(ctx, frameworks); err != nil {
		return nil, fmt.Errorf("loading frameworks: %w", err)
	}
	for _, p := range pairs {
		r, err := decodeFramework(p.Value)
		if err != nil {
			return nil, fmt.Errorf("the store's %s cannot be read (was it written by a newer version?): %w", p.Key, err)
		}
		out = append(out, cluster.Record{Framework: r})
	}
	return out, nil
}

func decodeAgent(b []byte) (*cluster.AgentRecord, error) {
	var j journal.MasterAgent
	if err := proto.Unmarshal(b, &j); err != nil {
		return nil, err
	}
	if j.GetVersion() != recordVersion {
		return nil, fmt.Errorf("version %d is unknown", j.GetVersion())
	}
	spec, err := agentSpec(j.GetAgentInfo(), j.GetIp(), j.GetSoftware(), j.GetCapabilities())
	if err != nil {
		return nil, err
	}
	return &cluster.AgentRecord{Spec: spec, Mark: cluster.Mark(j.GetMark()), Since: j.GetMarkedWall(), Registered: j.GetRegisteredWall()}, nil
}

func encodeAgent(r *cluster.AgentRecord) ([]byte, error) {
	j := journal.MasterAgent{
		Version: recordVersion, AgentInfo: r.Spec.Info, Mark: uint32(r.Mark), MarkedWall: r.Since,
		Software: r.Spec.Version, Ip: r.Spec.IP, RegisteredWall: r.Registered,
	}
	for _, c := range r.Spec.Capabilities {
		j.Capabilities = append(j.Capabilities, uint32(c))
	}
	return proto.Marshal(&j)
}

func decodeFramework(b []byte) (*cluster.FrameworkRecord, error) {
	var j journal.MasterFramework
	if err := proto.Unmarshal(b, &j); err != nil {
		return nil, err
	}
	if j.GetVersion() != recordVersion {
		return nil, fmt.Errorf("version %d is unknown", j.GetVersion())
	}
	var info mesosv1.FrameworkInfo
	if err := proto.Unmarshal(j.GetFrameworkInfo(), &info); err != nil {
		return nil, err
	}
	spec, err := frameworkSpec(&info, j.GetFrameworkInfo())
	if err != nil {
		return nil, err
	}
	return &cluster.FrameworkRecord{Spec: spec, Registered: j.GetRegisteredWall(), Removed: j.GetRemovedWall()}, nil
}

func encodeFramework(r *cluster.FrameworkRecord) ([]byte, error) {
	return proto.Marshal(&journal.MasterFramework{
		Version: recordVersion, FrameworkInfo: r.Spec.Info, RegisteredWall: r.Registered,
		Removed: r.Removed != 0, RemovedWall: r.Removed,
	})
}

// Save commits records as one transaction (or as few as the store's limits allow), each with the condition that this is
// still the leader. The last record about a key holds.
func (t *term) Save(ctx context.Context, records []cluster.Record) error {
	var ops []store.Op
	at := map[string]int{}
	put := func(op store.Op) {
		if i, ok := at[op.Key]; ok {
			ops[i] = op
			return
		}
		at[op.Key] = len(ops)
		ops = append(ops, op)
	}
	for _, r := range records {
		switch {
		case r.Agent != nil:
			v, err := encodeAgent(r.Agent)
			if err != nil {
				return fmt.Errorf("agent %s: %w", r.Agent.Spec.ID, err)
			}
			put(store.Put(agentsKey+r.Agent.Spec.ID, v))
		case r.Framework != nil:
			v, err := encodeFramework(r.Framework)
			if err != nil {
				return fmt.Errorf("framework %s: %w", r.Framework.Spec.ID, err)
			}
			put(store.Put(frameworks+r.Framework.Spec.ID, v))
		case r.Forget != "":
			put(store.Delete(frameworks + r.Forget))
		case r.ForgetAgent != "":
			put(store.Delete(agentsKey + r.ForgetAgent))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	start := t.m.deps.Clock.Now().Mono
	defer func() { t.m.counts.stores.Observe(t.m.deps.Clock.Now().Mono - start) }()
	limits := t.m.deps.Store.Limits()
	for len(ops) > 0 {
		n, size := 0, 0
		for n < len(ops) && n < limits.Ops {
			s := len(ops[n].Key) + len(ops[n].Value)
			if n > 0 && size+s > limits.Bytes {
				break
			}
			size += s
			n++
		}
		if _, err := t.m.deps.Store.Commit(ctx, store.Txn{If: []store.Condition{t.leadership.Held()}, Then: ops[:n]}); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}
