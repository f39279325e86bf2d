package container

import (
	"bufio"
	"io"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// Terminal is the size of a container's terminal, in characters; 0: unknown.
type Terminal struct{ Rows, Columns uint16 }

// Attachment says what a Stream carries.
type Attachment uint32

// Attachments.
const (
	// AttachOutput gives what the container writes from now on. One who does not read holds the container up for five
	// seconds at most, and is cut off then.
	AttachOutput = Attachment(wire.AttachOutput)
	// AttachInput takes what the container is to read. One may at a time.
	AttachInput = Attachment(wire.AttachInput)
	// AttachSession gives the output of a session, which is killed when the stream is closed.
	AttachSession = Attachment(wire.AttachOutput | wire.AttachOwner)
)

// Stdio names one of the three standard streams.
type Stdio uint8

// The standard streams.
const (
	Stdin  = Stdio(wire.PieceStdin)
	Stdout = Stdio(wire.PieceStdout)
	Stderr = Stdio(wire.PieceStderr)
)

// MaxPiece is the most bytes that a Stream gives at once.
const MaxPiece = wire.MaxPiece

// Stream is attached to a container. One goroutine may read while another writes.
type Stream struct {
	conn Half
	in   *bufio.Reader
	out  []byte
	data []byte
}

// Half is a connection of which what we send can be ended by itself.
type Half interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// NewStream makes one of a connection that carries the pieces of package wire.
func NewStream(conn Half) *Stream {
	return &Stream{conn: conn, in: bufio.NewReaderSize(conn, wire.PieceHead+wire.MaxPiece), data: make([]byte, wire.MaxPiece)}
}

// Read gives the next piece of output, which holds until the call after. io.EOF says that the container has ended, or that
// we were cut off.
func (s *Stream) Read() (Stdio, []byte, error) {
	kind, data, err := wire.ReadPiece(s.in, s.data)
	return Stdio(kind), data, err
}

// Write waits until the container has room for its input. An error says that nobody reads it any more.
func (s *Stream) Write(data []byte) (int, error) {
	done := 0
	for done < len(data) {
		n := min(len(data)-done, MaxPiece)
		if err := s.put(wire.PieceStdin, data[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// EndInput ends the input of a container that has no terminal; to one that has it means nothing.
func (s *Stream) EndInput() error { return s.put(wire.PieceStdin, nil) }

// Resize gives its terminal another size. Without one it does nothing.
func (s *Stream) Resize(t Terminal) error {
	return s.put(wire.PieceWindow, wire.Window(t.Rows, t.Columns))
}

func (s *Stream) put(kind wire.PieceKind, data []byte) error {
	s.out = wire.AppendPiece(s.out[:0], kind, data)
	_, err := s.conn.Write(s.out)
	return err
}

// EndWrites says that nothing is written any more, which is not the end of the container's input. Await then returns once it
// has taken all that was.
func (s *Stream) EndWrites() { _ = s.conn.CloseWrite() } // of one that has ended Await tells

// Await returns when the stream has ended. It reads; who reads himself does not need it.
func (s *Stream) Await() { _, _ = io.Copy(io.Discard, s.in) } // however it ended

// Close detaches. What others wait for in the stream's methods ends.
func (s *Stream) Close() { _ = s.conn.Close() } // nobody waits for its error

// Attachable says whether a container can be attached to.
func (s *Spec) Attachable() bool { return s.Session || s.Terminal != nil }

// CheckStreams refuses streams that a container cannot have.
func (s *Spec) CheckStreams() error {
	if s.Parent == "" && (s.Session || s.Terminal != nil && !s.Alone) {
		return &Error{KindInvalid, "a session needs a Parent, and a terminal a Parent or a shim of its own: set Alone"}
	}
	return nil
}
