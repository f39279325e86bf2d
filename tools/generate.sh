#!/usr/bin/env bash
# Makes gen/ from proto/. Needs protoc (Debian: protobuf-compiler) and protoc-gen-go (see CONTRIBUTING.md).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN="$bin" go install google.golang.org/protobuf/cmd/protoc-gen-go
rm -rf gen
mkdir gen
find proto -name '*.proto' -printf '%P\n' | LC_ALL=C sort | xargs protoc -Iproto \
  --plugin=protoc-gen-go="$bin/protoc-gen-go" --go_out=. --go_opt=module=github.com/pando-os/pando
