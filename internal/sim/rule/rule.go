// Package rule names what must hold in a simulated cluster, whatever happens to it.
package rule

// Rules, by the names of their checkers.
const (
	// OneOwner: no resource is offered or used twice, in the master's book, in its allocator, or on a machine.
	OneOwner = "one-owner"
	// Checkpointed: what an agent sends or does is in its journal before.
	Checkpointed = "acknowledged-means-checkpointed"
	// OneEnd: a task has one terminal status with one uuid, and has really ended by then.
	OneEnd = "one-end"
	// Accepted: a task starts once, on the agent whose offer was accepted for it.
	Accepted = "launch-was-accepted"
	// OneLeader: one leader acts. No agent obeys a leader of an older epoch than one that it has obeyed, and nothing that an
	// older leader saves comes into the store.
	OneLeader = "one-leader-acts"
	// OfferOnce: an offer is never accepted twice, nor after it was declined or taken back, nor by another framework.
	OfferOnce = "an-offer-is-accepted-once"
	// Honoured: filters, suppression and roles are honoured.
	Honoured = "filters-are-honoured"
	// InOrder: a status update that was checkpointed is delivered at least once and in order.
	InOrder = "updates-come-in-order"
	// Shares: shares even out under fair demand.
	Shares = "shares-even-out"
	// KillDone: a kill that the master took is carried out.
	KillDone = "kill-is-carried-out"
	// Known: a task is known to all sides that it concerns.
	Known = "task-is-known"
	// Failover: a framework that is away is kept for its failover timeout, also over a master's crash, and not much longer.
	Failover = "failover-timeout"
	// Gone: an agent that was marked gone is never registered again under its id, and its tasks never come back.
	Gone = "gone-is-for-good"
	// Gradual: agents are marked unreachable no faster than the operator allows.
	Gradual = "agents-are-removed-at-their-rate"
	// There: nothing is offered of an agent that is not there, and of one that is there what it said last that it has.
	There = "only-what-is-there-is-offered"
	// OneStream: a call of a stream that was replaced, or has ended, changes nothing.
	OneStream = "one-stream-is-heard"
	// Stranger: what is reserved is never given to a stranger.
	Stranger = "reserved-is-not-for-strangers"
	// Volumes: a volume's data is never lost, and two have it at a time only when it is shared.
	Volumes = "volumes-are-kept"
	// Once: an operation is applied at most once, and has one end.
	Once = "operations-happen-once"
	// Whole: a group of tasks runs whole or not at all.
	Whole = "a-group-runs-whole"
	// Reached: a status of what runs, or ran, says where that is reached: in the networks of its container, or at its machine.
	Reached = "a-status-says-where"
	// NoPanic: no machine panics, whatever comes in whatever order.
	NoPanic = "no-panic"
	// Liveness: once faults have stopped, every wish is met.
	Liveness = "liveness"
)
