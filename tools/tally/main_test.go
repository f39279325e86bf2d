package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

const told = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: broken\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:9: no etcd: install it\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Elapsed":1.5}
not an event
{"Action":"build-output","ImportPath":"q","Output":"q.go:1: does not compile\n"}
{"Action":"fail","Package":"q","FailedBuild":"q"}
`

func TestRetellsARunForPeople(t *testing.T) {
	var out bytes.Buffer
	run := newTally(&out)
	if err := run.read(strings.NewReader(told)); err != nil {
		t.Fatal(err)
	}
	const want = `FAIL  p TestA
    a_test.go:3: broken
skip  p TestB: no etcd: install it
FAIL  p (1.5s)
not an event
q.go:1: does not compile
FAIL  q (0.0s)
`
	if out.String() != want {
		t.Errorf("told:\n%s\nwant:\n%s", &out, want)
	}
	if got := run.total.String(); got != "1 passed, 2 failed, 1 skipped" {
		t.Error(got)
	}
}

func TestCountsAddUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "counts")
	for range 2 {
		if err := add(file, counts{1, 2, 3}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := sum(file); err != nil || got != (counts{2, 4, 6}) {
		t.Fatal(got, err)
	}
}
