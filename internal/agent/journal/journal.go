// Package journal is an append-only file of records, each with its length and checksum: what an agent must not forget.
// Many records become durable with one write and one fdatasync. A write that a crash tore apart is recognised and cut
// off; damage in the middle is reported, and read around only when asked to.
package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

const (
	magic = "pando journal 1\n"
	head  = 8 // length and checksum, four bytes each, little endian
	// MaxRecord bounds one record.
	MaxRecord = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Journal is an open journal. One goroutine uses it at a time.
type Journal struct {
	path string
	file *os.File
	size int64
	buf  []byte
	err  error // once a write failed, what is on disk is unknown and nothing more is written
}

// Damage is what could not be read.
type Damage struct {
	// Torn bytes at the end are of a write that a crash interrupted; nothing that was promised is in there.
	Torn int64
	// Lost bytes are in the middle, in Gaps places. Records in them are gone.
	Lost int64
	Gaps int
}

// CorruptError says that a journal is damaged in the middle.
type CorruptError struct {
	Path   string
	Offset int64
	Why    string
}

// Error names the file and the way out.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("the journal %s is damaged at byte %d (%s): restore it from a backup, start with --strict=false to go on without what cannot be read, or move it away to start as a new agent",
		e.Path, e.Offset, e.Why)
}

// Open reads every record of the journal in order, makes the file when it does not exist, and leaves it ready for
// appending. In strict mode damage in the middle is a *CorruptError; otherwise it is skipped and counted. An error of
// replay means that a record cannot be understood, and counts as damage.
func Open(path string, strict bool, replay func(record []byte) error) (*Journal, Damage, error) {
	var d Damage
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		j, err := create(path)
		return j, d, err
	}
	if err != nil {
		return nil, d, fmt.Errorf("reading the journal: %w", err)
	}
	end, err := scan(path, data, strict, &d, replay)
	if err != nil {
		return nil, d, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, d, fmt.Errorf("opening the journal: %w", err)
	}
	j := &Journal{path: path, file: f, size: end}
	if end == 0 { // not even the first line is there
		err = j.begin()
	} else if err = f.Truncate(end); err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		_ = f.Close() // the first error matters
		return nil, d, fmt.Errorf("opening the journal: %w", err)
	}
	return j, d, nil
}

// scan replays what is readable and says where the good part ends.
func scan(path string, data []byte, strict bool, d *Damage, replay func([]byte) error) (int64, error) {
	if len(data) < len(magic) && bytes.HasPrefix([]byte(magic), data) {
		d.Torn = int64(len(data))
		return 0, nil
	}
	if !bytes.HasPrefix(data, []byte(magic)) && strict {
		return 0, &CorruptError{path, 0, "it does not begin as a journal of this version does"}
	}
	at := len(magic)
	end := at
	for at < len(data) {
		n, why := whole(data[at:])
		if why == "" {
			if err := replay(data[at+head : at+n]); err != nil {
				why = "the record cannot be understood: " + err.Error()
				if strict {
					return 0, &CorruptError{path, int64(at), why}
				}
				d.Lost += int64(n)
				d.Gaps++
			}
			at += n
			end = at
			continue
		}
		next := resync(data, at+1)
		if next < 0 {
			d.Torn = int64(len(data) - at)
			break
		}
		if strict {
			return 0, &CorruptError{path, int64(at), why}
		}
		d.Lost += int64(next - at)
		d.Gaps++
		at = next
	}
	return int64(end), nil
}

// whole says how long the record at the beginning of b is, or why there is none.
func whole(b []byte) (n int, why string) {
	if len(b) < head {
		return 0, "it ends within a record's head"
	}
	size := binary.LittleEndian.Uint32(b)
	if size == 0 || size > MaxRecord {
		return 0, "a record's length is out of range"
	}
	if uint64(size) > uint64(len(b)-head) {
		return 0, "it ends within a record"
	}
	if crc32.Checksum(b[head:head+size], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return 0, "a record's checksum is wrong"
	}
	return head + int(size), ""
}

// resync finds the next whole record; -1 when there is none.
func resync(data []byte, from int) int {
	for at := from; at+head < len(data); at++ {
		if _, why := whole(data[at:]); why == "" {
			return at
		}
	}
	return -1
}

func create(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the journal: %w", err)
	}
	j := &Journal{path: path, file: f}
	if err = j.begin(); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = f.Close() // the first error matters
		return nil, fmt.Errorf("making the journal: %w", err)
	}
	return j, nil
}

func (j *Journal) begin() error {
	if err := j.file.Truncate(0); err != nil {
		return err
	}
	if _, err := j.file.WriteAt([]byte(magic), 0); err != nil {
		return err
	}
	if _, err := j.file.Seek(int64(len(magic)), io.SeekStart); err != nil {
		return err
	}
	j.size = int64(len(magic))
	return j.file.Sync()
}

// Size is the file's length in bytes.
func (j *Journal) Size() int64 { return j.size }

// Append makes records durable, all of them when it returns nil. After an error nothing is known of them, and the journal
// takes nothing more: it must be opened anew.
func (j *Journal) Append(records [][]byte) error {
	if j.err != nil {
		return j.err
	}
	j.buf = frame(j.buf[:0], records)
	if _, err := j.file.Write(j.buf); err != nil {
		return j.fail(err)
	}
	if err := datasync(j.file); err != nil {
		return j.fail(err)
	}
	j.size += int64(len(j.buf))
	if cap(j.buf) > 1<<20 {
		j.buf = nil
	}
	return nil
}

func (j *Journal) fail(err error) error {
	j.err = fmt.Errorf("writing the journal %s: %w (is the disk full?)", j.path, err)
	return j.err
}

// Replace writes a new file with these records and puts it in the old one's place, durably.
func (j *Journal) Replace(records [][]byte) error {
	if j.err != nil {
		return j.err
	}
	tmp := j.path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("compacting the journal: %w", err)
	}
	all := frame([]byte(magic), records)
	if _, err = f.Write(all); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		_, _ = f.Close(), os.Remove(tmp) // the first error matters
		return fmt.Errorf("compacting the journal: %w", err)
	}
	_ = j.file.Close() // the old file is unlinked and was synced
	j.file, j.size = f, int64(len(all))
	return nil
}

// Close closes the file; everything appended is durable already.
func (j *Journal) Close() error { return j.file.Close() }

func frame(dst []byte, records [][]byte) []byte {
	for _, r := range records {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r)))
		dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(r, castagnoli))
		dst = append(dst, r...)
	}
	return dst
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	_ = d.Close() // it was only read
	return err
}
