package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
)

const (
	mediaJSON     = "application/json"
	mediaProtobuf = "application/x-protobuf"
	mediaRecordIO = "application/recordio"
	// maxIO bounds one record of a container's output.
	maxIO = 4 << 20
	// inputBeat is between two heartbeats of a container's input, as between those of its output.
	inputBeat = 30 * time.Second
)

// Containers starts, ends and attaches to containers by the agent's API. Its methods may be called from any goroutine.
type Containers struct {
	base  *url.URL
	http  *http.Client
	clock clock.Clock
	// JSON has it speak JSON instead of protobuf.
	JSON bool
}

// Containers makes a client of the agent's API about containers. Unlike others it waits for answers as long as they take.
func (a *Agent) Containers() *Containers {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if t, ok := a.http.Transport.(*http.Transport); ok {
		transport = t.Clone()
	}
	transport.ResponseHeaderTimeout = 0
	return &Containers{base: a.base, http: &http.Client{Transport: transport}, clock: clock.Real()}
}

func (c *Containers) media() string {
	if c.JSON {
		return mediaJSON
	}
	return mediaProtobuf
}

func (c *Containers) encode(m proto.Message) ([]byte, error) {
	if c.JSON {
		return mesos.AppendJSON(nil, m)
	}
	return proto.Marshal(m)
}

func (c *Containers) decode(b []byte, m proto.Message) error {
	if c.JSON {
		return mesos.UnmarshalJSON(b, m)
	}
	return proto.Unmarshal(b, m)
}

func (c *Containers) post(ctx context.Context, body io.Reader, headers map[string]string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("api/v1").String(), body)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	for k, v := range headers {
		request.Header.Set(k, v)
	}
	return send(c.http, request)
}

// Call makes a call whose answer is one message; it is nil for calls that have none.
func (c *Containers) Call(ctx context.Context, call *agent.Call) (*agent.Response, error) {
	b, err := c.encode(call)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	r, err := c.post(ctx, bytes.NewReader(b), map[string]string{"Content-Type": c.media(), "Accept": c.media()})
	if err != nil {
		return nil, err
	}
	b, err = whole(r, call.GetType().String())
	if err != nil || len(b) == 0 {
		return nil, err
	}
	out := &agent.Response{}
	return out, c.decode(b, out)
}

// Wait waits for the end of a container that this API has started and gives its status as wait(2) does, or -1 when nobody
// knows it.
func (c *Containers) Wait(ctx context.Context, id *mesosv1.ContainerID) (int, error) {
	r, err := c.Call(ctx, &agent.Call{Type: agent.Call_WAIT_CONTAINER.Enum(), WaitContainer: &agent.Call_WaitContainer{ContainerId: id}})
	if err != nil {
		return -1, err
	}
	if w := r.GetWaitContainer(); w != nil && w.ExitStatus != nil {
		return int(w.GetExitStatus()), nil
	}
	return -1, nil
}

// Kill sends a signal to a container.
func (c *Containers) Kill(ctx context.Context, id *mesosv1.ContainerID, signal int) error {
	_, err := c.Call(ctx, &agent.Call{Type: agent.Call_KILL_CONTAINER.Enum(), KillContainer: &agent.Call_KillContainer{ContainerId: id, Signal: new(int32(signal))}})
	return err
}

// Remove forgets a container that has ended.
func (c *Containers) Remove(ctx context.Context, id *mesosv1.ContainerID) error {
	_, err := c.Call(ctx, &agent.Call{Type: agent.Call_REMOVE_CONTAINER.Enum(), RemoveContainer: &agent.Call_RemoveContainer{ContainerId: id}})
	return err
}

// Output is what a container writes.
type Output struct {
	c       *Containers
	body    io.ReadCloser
	records *mesos.RecordReader
	end     context.CancelFunc
}

// Session starts a container that dies when its Output is closed.
func (c *Containers) Session(ctx context.Context, launch *agent.Call_LaunchNestedContainerSession) (*Output, error) {
	return c.output(ctx, &agent.Call{Type: agent.Call_LAUNCH_NESTED_CONTAINER_SESSION.Enum(), LaunchNestedContainerSession: launch})
}

// AttachOutput reads what a container writes from now on.
func (c *Containers) AttachOutput(ctx context.Context, id *mesosv1.ContainerID) (*Output, error) {
	return c.output(ctx, &agent.Call{Type: agent.Call_ATTACH_CONTAINER_OUTPUT.Enum(), AttachContainerOutput: &agent.Call_AttachContainerOutput{ContainerId: id}})
}

func (c *Containers) output(ctx context.Context, call *agent.Call) (*Output, error) {
	b, err := c.encode(call)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	ctx, end := context.WithCancel(ctx)
	r, err := c.post(ctx, bytes.NewReader(b), map[string]string{"Content-Type": c.media(), "Accept": mediaRecordIO, "Message-Accept": c.media()})
	if err == nil && r.StatusCode != http.StatusOK {
		err = fault.New(fault.Conflict, "a container of that id is there already; choose another")
		_ = r.Body.Close() // it is empty
	}
	if err != nil {
		end()
		return nil, err
	}
	return &Output{c: c, body: r.Body, records: mesos.NewRecordReader(r.Body, maxIO), end: end}, nil
}

// Next gives the next data, and whether it is from standard error; it may use the memory of the data before. io.EOF says that
// there is no more. Heartbeats are passed over.
func (o *Output) Next() (data []byte, stderr bool, err error) {
	for {
		b, err := o.records.Next()
		if err != nil {
			return nil, false, err
		}
		p := &agent.ProcessIO{}
		if err := o.c.decode(b, p); err != nil {
			return nil, false, fault.Wrap(fault.Invalid, err)
		}
		if p.GetType() == agent.ProcessIO_DATA {
			return p.GetData().GetData(), p.GetData().GetType() == agent.ProcessIO_Data_STDERR, nil
		}
	}
}

// Copy writes all that comes to two writers until it ends.
func (o *Output) Copy(stdout, stderr io.Writer) error {
	for {
		data, toErr, err := o.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		to := stdout
		if toErr {
			to = stderr
		}
		if err == nil {
			_, err = to.Write(data)
		}
		if err != nil {
			return err
		}
	}
}

// Close ends the connection, and a session with it.
func (o *Output) Close() {
	o.end()
	_ = o.body.Close() // nothing more is wanted of it
}

// Input is what a container reads.
type Input struct {
	c    *Containers
	pipe *io.PipeWriter
	over chan struct{}
	err  error // holds once over is closed
	mu   sync.Mutex
}

// AttachInput writes for a container to read. One may at a time; a refusal comes with the first Write or with Close. While
// nothing is written heartbeats are sent, so that a proxy does not take the connection for a dead one.
func (c *Containers) AttachInput(ctx context.Context, id *mesosv1.ContainerID) *Input {
	body, pipe := io.Pipe()
	in := &Input{c: c, pipe: pipe, over: make(chan struct{})}
	lasting, end := context.WithCancel(ctx)
	go func() {
		defer close(in.over)
		defer end()
		r, err := c.post(ctx, body, map[string]string{"Content-Type": mediaRecordIO, "Message-Content-Type": c.media(), "Accept": c.media()})
		if err == nil {
			_ = r.Body.Close() // it is empty
			err = io.EOF
		}
		in.err = err
		_ = body.CloseWithError(err) // whoever writes is told
	}()
	in.mu.Lock() // nothing comes before the first record
	go func() {
		defer in.mu.Unlock()
		_ = in.write(&agent.Call_AttachContainerInput{Type: agent.Call_AttachContainerInput_CONTAINER_ID.Enum(), ContainerId: id}) // the answer says it
	}()
	go in.beats(lasting)
	return in
}

// beats sends heartbeats until the input is over.
func (in *Input) beats(ctx context.Context) {
	beat := &agent.Call_AttachContainerInput{Type: agent.Call_AttachContainerInput_PROCESS_IO.Enum(), ProcessIo: &agent.ProcessIO{
		Type: agent.ProcessIO_CONTROL.Enum(), Control: &agent.ProcessIO_Control{
			Type:      agent.ProcessIO_Control_HEARTBEAT.Enum(),
			Heartbeat: &agent.ProcessIO_Control_Heartbeat{Interval: &mesosv1.DurationInfo{Nanoseconds: new(int64(inputBeat))}},
		},
	}}
	for clock.Sleep(ctx, in.c.clock, inputBeat) == nil {
		if in.mu.TryLock() { // else something is being written, which does as well
			_ = in.write(beat) // what is over is told to who writes
			in.mu.Unlock()
		}
	}
}

// write sends a record. in.mu is held.
func (in *Input) write(what *agent.Call_AttachContainerInput) error {
	b, err := in.c.encode(&agent.Call{Type: agent.Call_ATTACH_CONTAINER_INPUT.Enum(), AttachContainerInput: what})
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	_, err = in.pipe.Write(mesos.AppendRecord(nil, b))
	return err
}

func (in *Input) say(p *agent.ProcessIO) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.write(&agent.Call_AttachContainerInput{Type: agent.Call_AttachContainerInput_PROCESS_IO.Enum(), ProcessIo: p})
}

func (in *Input) data(b []byte) error {
	return in.say(&agent.ProcessIO{Type: agent.ProcessIO_DATA.Enum(), Data: &agent.ProcessIO_Data{Type: agent.ProcessIO_Data_STDIN.Enum(), Data: b}})
}

// Write waits until the connection takes the data. io.EOF says that the container has ended.
func (in *Input) Write(b []byte) (int, error) {
	const piece = 64 << 10
	for done := 0; done < len(b); done += piece {
		if err := in.data(b[done:min(len(b), done+piece)]); err != nil {
			return done, err
		}
	}
	return len(b), nil
}

// End ends the input of a container that has no terminal. To one that has it means nothing: there Ctrl-D is written.
func (in *Input) End() error { return in.data([]byte{}) }

// Resize tells the size of the terminal.
func (in *Input) Resize(rows, columns uint32) error {
	return in.say(&agent.ProcessIO{Type: agent.ProcessIO_CONTROL.Enum(), Control: &agent.ProcessIO_Control{
		Type: agent.ProcessIO_Control_TTY_INFO.Enum(), TtyInfo: &mesosv1.TTYInfo{WindowSize: &mesosv1.TTYInfo_WindowSize{Rows: &rows, Columns: &columns}},
	}})
}

// Close ends the connection and waits until the container has taken all, or has ended; the error is a refusal. The input of
// the container goes on: another may write.
func (in *Input) Close() error {
	in.mu.Lock()
	_ = in.pipe.Close() // it cannot fail
	in.mu.Unlock()
	<-in.over
	if errors.Is(in.err, io.EOF) {
		return nil
	}
	return in.err
}
