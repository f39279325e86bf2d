package mesos

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRecordsComeOutAsTheyWentIn(t *testing.T) {
	var stream []byte
	want := []string{"hello", "", "1\n2", strings.Repeat("x", 200_000)}
	for _, s := range want {
		stream = AppendRecord(stream, []byte(s))
	}
	for name, in := range map[string]io.Reader{"at once": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream))} {
		r := NewRecordReader(in, 1<<20)
		for i, s := range want {
			if got, err := r.Next(); err != nil || string(got) != s {
				t.Fatalf("%s: record %d: %d bytes, %v", name, i, len(got), err)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: the end is %v", name, err)
		}
	}
}

func TestBadRecords(t *testing.T) {
	for stream, want := range map[string]error{
		"12":              io.ErrUnexpectedEOF,
		"5\nhell":         io.ErrUnexpectedEOF,
		"5\n":             io.ErrUnexpectedEOF,
		"11\nhello world": ErrRecordTooLarge,
		"\n":              nil,
		"-1\nx":           nil,
		"+1\nx":           nil,
		" 1\nx":           nil,
		"1\r\nx":          nil,
		"0x1\nx":          nil,
		"00000000001\nx":  nil,
		"{\"type\":1}":    nil,
	} {
		r := NewRecordReader(strings.NewReader(stream), 10)
		_, err := r.Next()
		if err == nil || err == io.EOF || want != nil && !errors.Is(err, want) {
			t.Errorf("%q: %v", stream, err)
		}
		if _, again := r.Next(); again != err {
			t.Errorf("%q: read on after the error: %v", stream, again)
		}
	}
}

func FuzzRecordReader(f *testing.F) {
	f.Add([]byte("5\nhello0\n3\nabc"))
	f.Add([]byte("9999999999\n"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewRecordReader(bytes.NewReader(stream), 1000)
		var again []byte
		for {
			rec, err := r.Next()
			if err != nil {
				break
			}
			again = AppendRecord(again, rec)
		}
		s := NewRecordReader(bytes.NewReader(again), 1000)
		r = NewRecordReader(bytes.NewReader(stream), 1000)
		for {
			a, err1 := r.Next()
			b, err2 := s.Next()
			if err2 != nil {
				if err2 != io.EOF || err1 == nil {
					t.Fatalf("records framed again end with %v, %v", err1, err2)
				}
				return
			}
			if !bytes.Equal(a, b) {
				t.Fatal("records framed again differ")
			}
		}
	})
}
