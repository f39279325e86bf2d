// Package agentlink is the wire between agents and the leading master (proto/pando/link): its frames, and on the agent's
// side how they become inputs of the agent's book and how its messages become frames.
package agentlink

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/internal/fault"
)

const (
	// Path is where agents ask a master for the link.
	Path = "/pando/v1/agent"
	// Protocol is what they ask to upgrade to.
	Protocol = "pando-agent"
	// Version is the only one there is.
	Version = 1
	// MaxFrame bounds one frame.
	MaxFrame = 64 << 20
	// FrameGoal is about how large a frame grows before another is begun.
	FrameGoal = 1 << 20
	// keep is the largest buffer that is used again for the next frame.
	keep = 64 << 10
)

// ReadFrame reads one frame of at most MaxFrame bytes into m. It gives back a buffer for the next call; nothing of m refers
// to it.
func ReadFrame(r *bufio.Reader, buf []byte, m proto.Message) ([]byte, error) {
	return ReadFrameUpTo(MaxFrame, r, buf, m)
}

// ReadFrameUpTo is ReadFrame with another bound.
func ReadFrameUpTo(most uint32, r *bufio.Reader, buf []byte, m proto.Message) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return buf, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > most {
		return buf, fault.New(fault.Invalid, "a frame of %d bytes is larger than the %d allowed", n, most)
	}
	// The buffer grows with what comes: a length alone costs its sender nothing.
	for buf = buf[:0]; len(buf) < int(n); {
		at, step := len(buf), min(int(n)-len(buf), max(len(buf), keep))
		buf = slices.Grow(buf, step)[:at+step]
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return buf, err
		}
	}
	if err := CheckElements(buf, m.ProtoReflect().Descriptor()); err != nil {
		return buf, fault.New(fault.Invalid, "frame: %w", err)
	}
	if err := proto.Unmarshal(buf, m); err != nil {
		return buf, fault.New(fault.Invalid, "frame: %w", err)
	}
	if cap(buf) > keep {
		buf = nil
	}
	return buf, nil
}

// AppendFrame appends a message as a frame.
func AppendFrame(dst []byte, m proto.Message) ([]byte, error) {
	at := len(dst)
	out, err := proto.MarshalOptions{}.MarshalAppend(append(dst, 0, 0, 0, 0), m)
	if err != nil {
		return dst[:at], fmt.Errorf("a frame cannot be encoded: %w", err)
	}
	binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	return out, nil
}
