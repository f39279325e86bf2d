// Package envelope writes and reads what the shells put on the messages to a master's book: who they are from, and who waits for
// an answer.
package envelope

import "github.com/pando-os/pando/internal/core/cluster"

// of gives the places in a scheduler's call for its stream and its framework; nil for what is none, or names them otherwise.
func of(in cluster.In) (stream *cluster.StreamID, framework *string) {
	switch in := in.(type) {
	case *cluster.Accept:
		return &in.Stream, &in.Framework
	case *cluster.Decline:
		return &in.Stream, &in.Framework
	case *cluster.Kill:
		return &in.Stream, &in.Framework
	case *cluster.Acknowledge:
		return &in.Stream, &in.Framework
	case *cluster.Reconcile:
		return &in.Stream, &in.Framework
	case *cluster.Revive:
		return &in.Stream, &in.Framework
	case *cluster.Suppress:
		return &in.Stream, &in.Framework
	case *cluster.Teardown:
		return &in.Stream, &in.Framework
	case *cluster.ReconcileOperations:
		return &in.Stream, &in.Framework
	case *cluster.Message:
		return &in.Stream, &in.Framework
	case *cluster.ShutdownExecutor:
		return &in.Stream, &in.Framework
	case *cluster.AcknowledgeOperation:
		return &in.Stream, &in.Framework
	}
	return nil, nil
}

// Name writes a scheduler's stream and framework on its call.
func Name(in cluster.In, stream cluster.StreamID, framework string) {
	if s, f := of(in); s != nil {
		*s, *f = stream, framework
	}
}

// Stream is the stream that a call names, and its framework; 0 for one that names none.
func Stream(in cluster.In) (cluster.StreamID, string) {
	if s, f := of(in); s != nil {
		return *s, *f
	}
	return 0, ""
}

// Call is what the answer of an operator's call goes to; 0 for a call that nobody waits for.
func Call(in cluster.In) cluster.CallID {
	switch in := in.(type) {
	case *cluster.MarkAgentGone:
		return in.Call
	case *cluster.ChangeResources:
		return in.Call
	case *cluster.Kill:
		return in.Call
	case *cluster.Teardown:
		return in.Call
	}
	return 0
}

// Connect writes on an agent's message over which connection it came.
func Connect(in cluster.In, conn cluster.ConnID) {
	switch in := in.(type) {
	case *cluster.AgentRegister:
		in.Conn = conn
	case *cluster.AgentUpdate:
		in.Conn = conn
	case *cluster.AgentState:
		in.Conn = conn
	case *cluster.AgentPong:
		in.Conn = conn
	case *cluster.AgentLeave:
		in.Conn = conn
	case *cluster.AgentMessage:
		in.Conn = conn
	case *cluster.AgentExecutorEnd:
		in.Conn = conn
	case *cluster.AgentOperationEnd:
		in.Conn = conn
	}
}
