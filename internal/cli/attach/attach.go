// Package attach connects a person's terminal, or a program's pipes, to a container: to one that it starts beside a task, or
// to a task that has a terminal.
package attach

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/fault"
)

// Interrupted is the exit code of what Ctrl-C ended: 128 and SIGINT's number.
const Interrupted = 130

const (
	sigInt    = 2
	signalled = 128 // and the number, as shells say it
)

// Options say what to connect.
type Options struct {
	Agent *client.Containers
	// Stdin is read when Input is set. Terminal makes it a terminal's, in raw mode, and the container's streams one.
	Stdin           *os.File
	Stdout, Stderr  io.Writer
	Input, Terminal bool
	Interrupt       <-chan struct{} // receives for each Ctrl-C that is not the terminal's to pass on
}

// Exec runs a command in a container and gives its exit code, 128 and the number for a signal. The command is ended with us.
func Exec(ctx context.Context, o Options, id *mesosv1.ContainerID, argv, env []string) (int, error) {
	c := &mesosv1.CommandInfo{Shell: new(false), Value: &argv[0], Arguments: argv}
	for i := 0; i+1 < len(env); i += 2 {
		if c.Environment == nil {
			c.Environment = &mesosv1.Environment{}
		}
		c.Environment.Variables = append(c.Environment.Variables, &mesosv1.Environment_Variable{Name: &env[i], Value: &env[i+1]})
	}
	launch := &agent.Call_LaunchNestedContainerSession{ContainerId: id, Command: c}
	if o.Terminal {
		launch.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), TtyInfo: Terminal(o.Stdin)}
	}
	out, err := o.Agent.Session(ctx, launch)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	detached, err := o.connect(ctx, id, out, false)
	if err != nil || detached {
		return Interrupted, err
	}
	status, err := o.Agent.Wait(ctx, id)
	if err != nil {
		return 0, err
	}
	_ = o.Agent.Remove(ctx, id) // the agent forgets it by itself, later
	switch {
	case status < 0:
		return 0, fault.New(fault.Internal, "the command ended, and its agent does not know how")
	case status&0x7f != 0:
		return signalled + status&0x7f, nil
	}
	return status >> 8 & 0xff, nil
}

// Attach connects to a container that runs, until it ends or the person goes; it says which. The container goes on.
func Attach(ctx context.Context, o Options, id *mesosv1.ContainerID) (detached bool, err error) {
	out, err := o.Agent.AttachOutput(ctx, id)
	if err != nil {
		return false, err
	}
	defer out.Close()
	return o.connect(ctx, id, out, true)
}

// Show connects to the terminal of a container that was started for this person, until it ends or he goes. Nothing that he types leaves it.
func Show(ctx context.Context, o Options, id *mesosv1.ContainerID) (left bool, err error) {
	out, err := o.Agent.AttachOutput(ctx, id)
	if err != nil {
		return false, err
	}
	defer out.Close()
	return o.connect(ctx, id, out, false)
}

// Terminal describes the terminal that a person sits at, for a container that is to have one like it.
func Terminal(of *os.File) *mesosv1.TTYInfo {
	t := &mesosv1.TTYInfo{}
	if columns, rows, err := term.GetSize(int(of.Fd())); err == nil {
		t.WindowSize = &mesosv1.TTYInfo_WindowSize{Rows: new(uint32(rows)), Columns: new(uint32(columns))}
	}
	return t
}

// connect copies both ways until the output ends, or the person goes. mayLeave lets him go by Ctrl-P Ctrl-Q.
func (o *Options) connect(ctx context.Context, id *mesosv1.ContainerID, out *client.Output, mayLeave bool) (detached bool, err error) {
	left := make(chan struct{})
	if o.Terminal {
		before, err := term.MakeRaw(int(o.Stdin.Fd()))
		if err != nil {
			return false, fault.New(fault.Invalid, "standard input is no terminal (%v); leave -t out", err)
		}
		defer func() { _ = term.Restore(int(o.Stdin.Fd()), before) }() // it was one a moment ago
	}
	refused := make(chan error, 1)
	if o.Input || o.Terminal {
		in := o.Agent.AttachInput(ctx, id)
		if o.Terminal {
			stop := watchSize(o.Stdin, in)
			defer stop()
		}
		if o.Input {
			go func() {
				leave, err := copyInput(in, o.Stdin, mayLeave && o.Terminal)
				if leave {
					close(left)
					return
				}
				if err == nil {
					err = in.End()
				}
				if closed := in.Close(); closed != nil {
					refused <- closed
				}
				_ = err // of a container that has ended the output tells
			}()
		}
	}
	copied := make(chan error, 1)
	go func() { copied <- out.Copy(o.Stdout, o.Stderr) }()
	interrupts := 0
	for {
		select {
		case err := <-copied:
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = fault.New(fault.Unavailable, "the connection to the task's node broke")
			}
			return false, err
		case err := <-refused:
			if fault.Is(err, fault.Conflict) || fault.Is(err, fault.Denied) {
				return false, err
			}
		case <-left:
			return true, nil
		case <-o.Interrupt:
			if interrupts++; interrupts > 1 || o.Terminal || mayLeave {
				return true, nil
			}
			if o.Agent.Kill(ctx, id, sigInt) != nil {
				return true, nil
			}
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
}

// The keys by which a person leaves a terminal that goes on.
const (
	ctrlP = 0x10
	ctrlQ = 0x11
)

// copyInput copies until the input ends or, if he may, the person leaves. A Ctrl-P is held back until the next key.
func copyInput(to io.Writer, from io.Reader, mayLeave bool) (leave bool, err error) {
	buf := make([]byte, 32<<10)
	var send []byte
	held := false
	for {
		n, err := from.Read(buf)
		send = send[:0]
		for _, c := range buf[:n] {
			switch {
			case held && c == ctrlQ:
				leave = true
			case held:
				send, held = append(send, ctrlP), false
			}
			if leave {
				break
			}
			if mayLeave && c == ctrlP {
				held = true
			} else {
				send = append(send, c)
			}
		}
		if len(send) > 0 {
			if _, werr := to.Write(send); werr != nil {
				return false, werr
			}
		}
		switch {
		case leave:
			return true, nil
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		}
	}
}

// IsTerminal says whether a file is one.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// tell sends the size of a terminal.
func tell(terminal *os.File, in *client.Input) {
	if columns, rows, err := term.GetSize(int(terminal.Fd())); err == nil {
		_ = in.Resize(uint32(rows), uint32(columns)) // of a container that has ended the output tells
	}
}
