package containertest

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/pando-os/pando/internal/agent/container"
)

// session describes a session below a container.
func (r *rig) session(parent string, args ...string) container.Spec {
	s := r.below(parent, true, args...)
	s.Session, s.Env = true, nil
	return s
}

// top starts a container for others to be below.
func (r *rig) top() container.Spec {
	r.Helper()
	s := r.spec("sleep", "1000")
	r.launch(s)
	return s
}

func (r *rig) attach(id string, how container.Attachment) *container.Stream {
	r.Helper()
	s, err := r.Attach(r.Context(), id, how)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(s.Close)
	return s
}

// all reads a stream to its end.
func (r *rig) all(s *container.Stream) string {
	r.Helper()
	var out strings.Builder
	for {
		_, data, err := s.Read()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			r.Fatal(err)
		}
		out.Write(data)
	}
}

func (r *rig) endTop(s container.Spec) {
	r.Helper()
	r.Kill(s.ID, 0)
	r.exit(s.ID)
}

func sessionSpeaks(r *rig) {
	top := r.top()
	s := r.session(top.ID, "echo", "hello", "there")
	r.launch(s)
	time.Sleep(1500 * time.Millisecond) // it ends, and keeps its words for longer than output is waited for
	if got := r.all(r.attach(s.ID, container.AttachSession)); got != "hello there\n" {
		r.Errorf("it said %q", got)
	}
	if e := r.wantStatus(s.ID, 0); e.Killed {
		r.Error("it says that it was killed")
	}
	r.endTop(top)
}

func sessionDies(r *rig) {
	top := r.top()
	s := r.session(top.ID, "sleep", "1000")
	r.launch(s)
	owner := r.attach(s.ID, container.AttachSession)
	if _, err := r.Attach(r.Context(), s.ID, container.AttachSession); container.KindOf(err) != container.KindBusy {
		r.Errorf("a second owner: %v", err)
	}
	owner.Close()
	if e := r.wantStatus(s.ID, uint32(syscall.SIGKILL)); !e.Killed {
		r.Error("it does not say that it was killed")
	}
	r.endTop(top)
}

func sessionReads(r *rig) {
	top := r.top()
	s := r.session(top.ID, "cat")
	r.launch(s)
	owner, in := r.attach(s.ID, container.AttachSession), r.attach(s.ID, container.AttachInput)
	want := strings.Repeat("0123456789abcdef", 20_000)
	go func() {
		_, err := io.WriteString(in, want)
		if err == nil {
			err = in.EndInput()
		}
		if err != nil {
			r.Error(err)
		}
		finish(in)
	}()
	if got := r.all(owner); got != want {
		r.Errorf("%d bytes came back of %d", len(got), len(want))
	}
	r.wantStatus(s.ID, 0)
	r.endTop(top)
}

func oneWriter(r *rig) {
	top := r.top()
	s := r.session(top.ID, "cat")
	r.launch(s)
	owner, first := r.attach(s.ID, container.AttachSession), r.attach(s.ID, container.AttachInput)
	if _, err := r.Attach(r.Context(), s.ID, container.AttachInput); container.KindOf(err) != container.KindBusy {
		r.Errorf("a second writer: %v", err)
	}
	io.WriteString(first, "one ")
	if _, data, err := owner.Read(); string(data) != "one " || err != nil {
		r.Errorf("%q %v", data, err)
	}
	finish(first) // which ends the connection and not the input
	var second *container.Stream
	for end := time.Now().Add(20 * time.Second); second == nil; time.Sleep(time.Millisecond) {
		var err error
		if second, err = r.Attach(r.Context(), s.ID, container.AttachInput); err != nil && time.Now().After(end) {
			r.Fatal(err)
		}
	}
	defer second.Close()
	io.WriteString(second, "two")
	second.EndInput()
	if got := r.all(owner); got != "two" {
		r.Errorf("then came %q", got)
	}
	r.wantStatus(s.ID, 0)
	r.endTop(top)
}

func unattachable(r *rig) {
	top := r.top()
	for _, how := range []container.Attachment{container.AttachInput, container.AttachOutput, container.AttachSession} {
		if _, err := r.Attach(r.Context(), top.ID, how); container.KindOf(err) != container.KindInvalid {
			r.Errorf("attaching as %d: %v", how, err)
		}
		if _, err := r.Attach(r.Context(), "nobody", how); container.KindOf(err) != container.KindGone {
			r.Errorf("attaching to nobody as %d: %v", how, err)
		}
	}
	none := r.session(top.ID, "/no/such/program")
	_, err := r.Launch(r.Context(), none)
	r.wantKind(err, container.KindExec)
	s := r.spec("cat")
	s.Session = true
	_, err = r.Launch(r.Context(), s)
	if container.KindOf(err) != container.KindInvalid {
		r.Errorf("a session below nothing: %v", err)
	}
	r.endTop(top)
}

func terminalStays(r *rig) {
	s := r.spec("cat")
	s.Terminal, s.Alone = &container.Terminal{Rows: 10, Columns: 20}, true
	r.launch(s)
	r.attach(s.ID, container.AttachOutput).Close()
	before := r.attach(s.ID, container.AttachOutput)
	r.Close()
	r.Runtime = r.Open()
	if _, err := r.Recover(r.Context()); err != nil {
		r.Fatal(err)
	}
	out, in := r.attach(s.ID, container.AttachOutput), r.attach(s.ID, container.AttachInput)
	if err := in.Resize(container.Terminal{Rows: 30, Columns: 40}); err != nil {
		r.Error(err)
	}
	io.WriteString(in, "again\n")
	for _, from := range []*container.Stream{before, out} {
		if _, data, err := from.Read(); !strings.HasPrefix(string(data), "again") || err != nil {
			r.Errorf("%q %v", data, err)
		}
	}
	in.EndInput() // which means nothing to a terminal
	io.WriteString(in, "more\n")
	var shown string
	for !strings.Contains(shown, "more") {
		_, data, err := out.Read()
		if err != nil {
			r.Fatalf("after %q it ended with %v", shown, err)
		}
		shown += string(data)
	}
	io.WriteString(in, "\x04")
	finish(in)
	r.all(out)
	r.wantStatus(s.ID, 0)
}

func signalled(r *rig) {
	s := r.spec("sleep", "1000")
	r.launch(s)
	if err := r.Signal(s.ID, 1000); container.KindOf(err) != container.KindInvalid {
		r.Errorf("a signal that there is not: %v", err)
	}
	if err := r.Signal(s.ID, int(syscall.SIGHUP)); err != nil {
		r.Error(err)
	}
	if e := r.wantStatus(s.ID, uint32(syscall.SIGHUP)); e.Killed {
		r.Error("it says that it was killed")
	}
	if err := r.Signal(s.ID, int(syscall.SIGHUP)); container.KindOf(err) != container.KindGone {
		r.Errorf("a signal to what has ended: %v", err)
	}
}

// finish waits until all that was written was taken.
func finish(s *container.Stream) {
	s.EndWrites()
	s.Await()
}
