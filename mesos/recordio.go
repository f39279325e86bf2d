package mesos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// AppendRecord appends payload framed as one RecordIO record: its length in decimal, a newline,
// the bytes. Nothing follows a record.
func AppendRecord(dst, payload []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(payload)), 10)
	dst = append(dst, '\n')
	return append(dst, payload...)
}

// ErrRecordTooLarge is wrapped by the error of a record above the reader's limit.
var ErrRecordTooLarge = errors.New("the record is too large")

// maxHeader is the most digits that a record's length may have.
const maxHeader = 10

// RecordReader takes a stream of RecordIO records apart. One goroutine at a time may use it.
type RecordReader struct {
	r      *bufio.Reader
	limit  int
	buffer []byte
	err    error
}

// NewRecordReader returns a reader of records of at most limit bytes. It reads ahead of what it
// returns.
func NewRecordReader(r io.Reader, limit int) *RecordReader {
	return &RecordReader{r: bufio.NewReader(r), limit: limit}
}

// Next returns the next record, which holds until the call after. At the stream's clean end the
// error is io.EOF; within a record, io.ErrUnexpectedEOF. After an error there are no more records,
// since it is not known where the next one begins.
func (r *RecordReader) Next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	size, err := r.header()
	if err == nil {
		err = r.fill(size)
	}
	if err != nil {
		r.err = err
		return nil, err
	}
	return r.buffer, nil
}

func (r *RecordReader) header() (int, error) {
	size := 0
	for n := 0; ; n++ {
		c, err := r.r.ReadByte()
		switch {
		case err == io.EOF && n > 0:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case c == '\n' && n > 0:
			if size > r.limit {
				return 0, fmt.Errorf("%w: %d bytes, of at most %d; send smaller ones", ErrRecordTooLarge, size, r.limit)
			}
			return size, nil
		case c < '0' || c > '9':
			return 0, fmt.Errorf("a record's length holds %q; write decimal digits and a newline", c)
		case n == maxHeader:
			return 0, fmt.Errorf("a record's length has more than %d digits; send smaller records", maxHeader)
		}
		size = size*10 + int(c-'0')
	}
}

// fill reads size bytes. The buffer grows with what arrives, not with what was promised.
func (r *RecordReader) fill(size int) error {
	const step = 64 << 10
	r.buffer = r.buffer[:0]
	for len(r.buffer) < size {
		have := len(r.buffer)
		want := min(size-have, max(step, have))
		if cap(r.buffer)-have < want {
			r.buffer = append(make([]byte, 0, have+want), r.buffer...)
		}
		r.buffer = r.buffer[:have+want]
		if _, err := io.ReadFull(r.r, r.buffer[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
