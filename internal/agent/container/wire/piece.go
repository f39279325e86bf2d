package wire

import (
	"encoding/binary"
	"io"
)

// How a connection of its own is attached to a container: Status of an Attach, bits together.
const (
	AttachOutput uint32 = 1 << iota // what it writes comes over the connection
	AttachInput                     // what comes over the connection is for it to read; one at a time
	AttachOwner                     // it is killed when the connection ends
)

// Stdio says what the streams of a container are.
type Stdio uint8

// Values of Stdio.
const (
	StdioLogged   Stdio = iota // no input; output goes to files in the sandbox
	StdioSession               // pipes for who attaches; nothing is read of them before its owner has come
	StdioTerminal              // a terminal; what it shows goes to the file stdout too
	StdioSessionTerminal
)

// Terminal says whether the streams are one.
func (s Stdio) Terminal() bool { return s == StdioTerminal || s == StdioSessionTerminal }

// Session says whether the container is its owner's alone.
func (s Stdio) Session() bool { return s == StdioSession || s == StdioSessionTerminal }

// PieceKind says what goes over an attached connection.
type PieceKind uint8

// Kinds of pieces.
const (
	PieceStdin  PieceKind = 1 + iota // to the container; empty: it ends
	PieceStdout                      // from the container
	PieceStderr                      // likewise
	PieceWindow                      // to the container: its terminal has so many rows and columns, two bytes each
)

const (
	// PieceHead is how many bytes are before a piece's own.
	PieceHead = 5
	// MaxPiece is the most bytes of one piece.
	MaxPiece = 64 << 10
)

// PutPieceHead writes the head of a piece of n bytes into the first PieceHead bytes of b.
func PutPieceHead(b []byte, kind PieceKind, n int) {
	b[0] = byte(kind)
	binary.LittleEndian.PutUint32(b[1:], uint32(n))
}

// AppendPiece appends a piece, which may have MaxPiece bytes.
func AppendPiece(dst []byte, kind PieceKind, data []byte) []byte {
	dst = append(dst, byte(kind))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(data)))
	return append(dst, data...)
}

// ReadPiece reads one into buf, which must have MaxPiece bytes. io.EOF means that the peer closed between two pieces.
func ReadPiece(r io.Reader, buf []byte) (PieceKind, []byte, error) {
	var head [PieceHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > MaxPiece {
		return 0, nil, ErrCorrupt
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return PieceKind(head[0]), buf[:n], nil
}

// Window makes the bytes of a PieceWindow.
func Window(rows, columns uint16) []byte {
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, rows), columns)
}

// WindowOf reads them; false: they are none.
func WindowOf(b []byte) (rows, columns uint16, ok bool) {
	if len(b) != 4 {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), true
}
