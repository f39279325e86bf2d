package nested

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

const (
	// beat is between two heartbeats of an output stream.
	beat = 30 * time.Second
	// maxRecord bounds a record of an input stream.
	maxRecord = 4 << 20
)

// session answers LAUNCH_NESTED_CONTAINER_SESSION: the container dies with this connection.
func (s *Server) session(base context.Context, w http.ResponseWriter, r *http.Request, c *genagent.Call_LaunchNestedContainerSession, m serve.Media) {
	if c.GetContainerId().GetParent() == nil {
		serve.Fail(w, http.StatusBadRequest, "launch_nested_container_session.container_id.parent is missing; name the container that it is to be in.")
		return
	}
	spec, ok := s.spec(w, r, &genagent.Call_LaunchContainer{ContainerId: c.GetContainerId(), Command: c.GetCommand(), Container: c.GetContainer()})
	if !ok {
		return
	}
	spec.Session, spec.Sandbox = true, filepath.Dir(filepath.Dir(spec.Sandbox)) // it is in its parent's
	a, err := s.ask(func(id uint64) workload.In { return &workload.LaunchNested{Call: id, Spec: spec} })
	if err != nil || a.Outcome != workload.NestedDone {
		fail(w, a, err)
		return
	}
	stream, err := s.deps.Runtime.Attach(base, a.Container, container.AttachSession)
	if err != nil {
		_ = s.deps.Put(base, &workload.KillNested{Container: a.Container}) // an agent that ends ends its sessions
		serve.Fail(w, http.StatusInternalServerError, "The session has started and cannot be attached to: "+err.Error())
		return
	}
	s.output(base, w, stream, m)
}

// attachOutput answers ATTACH_CONTAINER_OUTPUT.
func (s *Server) attachOutput(base context.Context, w http.ResponseWriter, r *http.Request, id *mesosv1.ContainerID, m serve.Media) {
	if stream := s.attach(base, w, r, id, container.AttachOutput); stream != nil {
		s.output(base, w, stream, m)
	}
}

// attach connects to a container that a call names; nil when that was answered with what is wrong.
func (s *Server) attach(base context.Context, w http.ResponseWriter, r *http.Request, id *mesosv1.ContainerID, how container.Attachment) *container.Stream {
	t, top, ok := s.named(w, r, id)
	switch {
	case !ok:
		return nil
	case t == nil && !top:
		serve.Fail(w, http.StatusNotFound, "No container of that id, nor the one at the top of it, is on this agent.")
		return nil
	case t == nil:
		serve.Fail(w, http.StatusInternalServerError, "No container of that id is running.") // as the original
		return nil
	}
	stream, err := s.deps.Runtime.Attach(base, t.container, how)
	switch {
	case err == nil:
		return stream
	case container.KindOf(err) == container.KindBusy:
		serve.Fail(w, http.StatusConflict, err.Error())
	default:
		serve.Fail(w, http.StatusInternalServerError, "The container cannot be attached to: "+err.Error()) // as the original
	}
	return nil
}

// output passes what a container writes on to a client until either ends. What the client does not take waits in the
// container's own buffers, and then holds it up.
func (s *Server) output(base context.Context, w http.ResponseWriter, stream *container.Stream, m serve.Media) {
	defer stream.Close()
	client, err := serve.OpenPacedStream(w, m.Head(s.deps.Clock.Now().Time()))
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(base)
	defer cancel()
	defer context.AfterFunc(ctx, func() { client.Close(); stream.Close() })()
	go func() {
		client.Watch()
		cancel()
	}()
	go s.beats(ctx, client, m.JSON)
	var record []byte
	for {
		from, data, err := stream.Read()
		if err != nil {
			if errors.Is(err, io.EOF) && ctx.Err() == nil {
				client.Finish()
			}
			return
		}
		record = mesos.AppendProcessIO(record[:0], genagent.ProcessIO_Data_Type(from), data, m.JSON)
		if client.Write(record) != nil {
			return
		}
	}
}

// beats sends heartbeats until the context ends, so that proxies see life.
func (s *Server) beats(ctx context.Context, client *serve.PacedStream, json bool) {
	p := &genagent.ProcessIO{Type: genagent.ProcessIO_CONTROL.Enum(), Control: &genagent.ProcessIO_Control{
		Type:      genagent.ProcessIO_Control_HEARTBEAT.Enum(),
		Heartbeat: &genagent.ProcessIO_Control_Heartbeat{Interval: &mesosv1.DurationInfo{Nanoseconds: new(int64(beat))}},
	}}
	var record []byte
	var err error
	if json {
		record, err = mesos.AppendJSON(nil, p)
	} else {
		record, err = proto.Marshal(p)
	}
	for err == nil && clock.Sleep(ctx, s.deps.Clock, beat) == nil {
		client.Beat(record)
	}
}

// ServeInput answers ATTACH_CONTAINER_INPUT, whose body is a stream of calls, once that or the container has ended.
func (s *Server) ServeInput(base context.Context, w http.ResponseWriter, r *http.Request, json bool) {
	serve.Unhurried(w, r)
	records := mesos.NewRecordReader(r.Body, maxRecord)
	first, err := next(records, json)
	var id *mesosv1.ContainerID
	if err == nil {
		id, err = subject(first)
	}
	if bad := (*badRecord)(nil); errors.As(err, &bad) {
		err = bad.err
	}
	if errors.Is(err, io.EOF) {
		err = fault.New(fault.Invalid, "the stream of records is empty; the first names the container")
	}
	if err != nil {
		serve.FailWith(w, err)
		return
	}
	if _, ok := serve.AnswerMedia(w, r); !ok {
		return
	}
	stream := s.attach(base, w, r, id, container.AttachInput)
	if stream == nil {
		return
	}
	defer stream.Close()
	defer context.AfterFunc(base, stream.Close)()
	over := make(chan struct{})
	go func() {
		defer close(over)
		stream.Await()
	}()
	end := make(chan error, 1)
	go func() { end <- feed(stream, records, json) }()
	select {
	case err = <-end:
	case <-over: // the container has ended, or takes no more
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // so that the other gives up
		if err := <-end; err != nil {
			s.deps.Log.Debug("input for a container was cut short", "error", err)
		}
		w.WriteHeader(http.StatusOK)
		return
	}
	if bad := (*badRecord)(nil); errors.As(err, &bad) {
		serve.FailWith(w, bad.err)
		return
	}
	if err != nil { // the client has gone, or the container takes no more
		w.WriteHeader(http.StatusOK)
		return
	}
	stream.EndWrites()
	select {
	case <-over:
		w.WriteHeader(http.StatusOK)
	case <-r.Context().Done():
	}
}

// badRecord is a record of an input stream that is none.
type badRecord struct{ err error }

func (b *badRecord) Error() string { return b.err.Error() }

// feed gives a container what comes for it until that ends.
func feed(stream *container.Stream, records *mesos.RecordReader, json bool) error {
	for {
		call, err := next(records, json)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = give(stream, call.GetAttachContainerInput())
		}
		if err != nil {
			return err
		}
	}
}

// give passes one record on.
func give(stream *container.Stream, in *genagent.Call_AttachContainerInput) error {
	p := in.GetProcessIo()
	bad := func(format string, args ...any) error { return &badRecord{fault.New(fault.Invalid, format, args...)} }
	if in.GetType() != genagent.Call_AttachContainerInput_PROCESS_IO || p == nil {
		return bad("attach_container_input.type: is %s; all records but the first are PROCESS_IO", in.GetType())
	}
	switch p.GetType() {
	case genagent.ProcessIO_DATA:
		if p.GetData().GetType() != genagent.ProcessIO_Data_STDIN {
			return bad("process_io.data.type: is %s; a container is given STDIN", p.GetData().GetType())
		}
		if len(p.GetData().GetData()) == 0 {
			return stream.EndInput()
		}
		_, err := stream.Write(p.GetData().GetData())
		return err
	case genagent.ProcessIO_CONTROL:
		switch c := p.GetControl(); c.GetType() {
		case genagent.ProcessIO_Control_TTY_INFO:
			if err := checkTerminal(c.GetTtyInfo()); err != nil {
				return &badRecord{err}
			}
			size := c.GetTtyInfo().GetWindowSize()
			return stream.Resize(container.Terminal{Rows: uint16(size.GetRows()), Columns: uint16(size.GetColumns())})
		case genagent.ProcessIO_Control_HEARTBEAT:
			return nil
		default:
			return bad("process_io.control.type: is %s; give TTY_INFO or HEARTBEAT", c.GetType())
		}
	}
	return bad("process_io.type: is %s; give DATA or CONTROL", p.GetType())
}

// next reads a record, which is a call. io.EOF is the clean end of all.
func next(records *mesos.RecordReader, json bool) (*genagent.Call, error) {
	b, err := records.Next()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, &badRecord{fault.New(fault.Invalid, "the stream of records cannot be read: %v", err)}
	}
	call := &genagent.Call{}
	if err := serve.DecodeCall(b, json, call); err != nil {
		return nil, &badRecord{fault.New(fault.Invalid, "a record cannot be read: %v", err)}
	}
	return call, nil
}

// subject is the container that the first record of an input stream names.
func subject(call *genagent.Call) (*mesosv1.ContainerID, error) {
	in := call.GetAttachContainerInput()
	switch {
	case call.GetType() != genagent.Call_ATTACH_CONTAINER_INPUT:
		return nil, &serve.StatusError{Status: http.StatusUnsupportedMediaType, Words: "Only ATTACH_CONTAINER_INPUT is a stream of records; send " + call.GetType().String() + " as one message."}
	case in.GetType() != genagent.Call_AttachContainerInput_CONTAINER_ID || in.GetContainerId() == nil:
		return nil, fault.New(fault.Invalid, "attach_container_input.type: is %s in the first record; that is CONTAINER_ID and names the container", in.GetType())
	}
	return in.GetContainerId(), nil
}
