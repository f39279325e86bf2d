# Each target has a line of help. The README's two commands, tools/up and tools/test, work where make is not installed.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
GO          ?= go
SEEDS       ?= 50
FUZZTIME    ?= 30s
LINT        := $(GO) tool -modfile=tools/lint/go.mod
OURS         = git ls-files '*.go' | grep -v '^gen/'
TALLY       := $(GO) run ./tools/tally $(if $(COUNTS),-into $(COUNTS))

.DEFAULT_GOAL := help
.PHONY: help up build test check lint race sim sim-mutants plant host host-vm e2e interop golden bench fuzz generate fmt

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## build, and start a cluster of one on this machine (ARGS="--resources=cpus:4")
	tools/up $(ARGS)

build: ## bin/pando, with the launcher inside
	tools/build

test: ## every test that needs no other programs, in about two minutes
	tools/test

check: ## formatting, vet on every platform, the laws, tidiness of go.mod
	@unformatted=$$($(OURS) | xargs gofmt -s -l); test -z "$$unformatted" || { echo "make fmt is needed for: $$unformatted"; exit 1; }
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./cmd/pando ./client/... ./internal/cli/...
	GOOS=darwin $(GO) vet ./cmd/pando ./client/... ./internal/cli/...
	GOARCH=arm64 $(GO) vet ./cmd/...
	$(TALLY) $(GO) test -json -count=1 ./internal/laws
	$(GO) mod tidy -diff

lint: ## golangci-lint; its first build takes minutes, later ones none
	$(LINT) golangci-lint run

race: ## the tests under the race detector
	$(TALLY) $(GO) test -json -race ./...

sim: ## the simulator over SEEDS=50 seeds (SEED=n replays one and writes its trace)
	@$(if $(SEED),echo "the trace goes into sim-$(SEED).txt")
	@pace=$$(mktemp); trap 'cat $$pace; rm -f $$pace' EXIT; PANDO_SIM_PACE=$$pace \
	PANDO_SIM_SEEDS=$(SEEDS) PANDO_SIM_SEED=$(SEED) PANDO_SIM_TRACE=$(if $(SEED),$(CURDIR)/sim-$(SEED).txt) $(TALLY) $(GO) test -json -count=1 ./internal/sim/...

sim-mutants: ## known bugs, planted one at a time: the simulator finds each (ARGS=-short: eight of them)
	$(GO) run ./tools/plant $(ARGS)

plant: sim-mutants

host: ## what touches cgroups, processes, mounts and networks (root)
	PANDO_TEST_HOST=1 $(TALLY) $(GO) test -json -count=1 -p 1 ./internal/host/... ./internal/network/... ./internal/agent/... ./internal/seccomp/...

host-vm: build ## the same in a small virtual machine: cgroup v2, kernel 6.1
	test/hostvm/run

e2e: ## the real binary killed, swapped, lied to and starved (root)
	PANDO_TEST_E2E=1 $(TALLY) $(GO) test -json -count=1 -timeout 15m ./test/e2e

interop: build ## unmodified clients of Mesos against pando up
	test/interop/run

golden: build ## the original's recorded answers against pando up
	test/interop/golden

bench: build ## the numbers of bench/README.md
	bench/run

fuzz: ## every fuzz target for FUZZTIME=30s
	tools/fuzz $(FUZZTIME)

generate: ## gen/ from proto/
	tools/generate.sh

fmt: ## gofumpt and import grouping
	@$(OURS) | xargs $(LINT) gofumpt -extra -w
	@$(OURS) | xargs $(LINT) goimports -local github.com/pando-os/pando -w
