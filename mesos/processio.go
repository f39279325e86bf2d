package mesos

import (
	"encoding/base64"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pando-os/pando/gen/mesosv1/agent"
)

// AppendProcessIO appends an agent's ProcessIO of what a container wrote to one of its standard streams, as JSON or protobuf,
// without the framing of RecordIO. It allocates nothing where dst has room.
func AppendProcessIO(dst []byte, stream agent.ProcessIO_Data_Type, data []byte, json bool) []byte {
	if json {
		dst = append(dst, `{"type":"DATA","data":{"type":"`...)
		dst = append(dst, stream.String()...)
		dst = append(dst, `","data":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, data)
		return append(dst, `"}}`...)
	}
	dst = protowire.AppendTag(dst, 1, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(agent.ProcessIO_DATA))
	dst = protowire.AppendTag(dst, 2, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(1+protowire.SizeVarint(uint64(stream))+1+protowire.SizeBytes(len(data))))
	dst = protowire.AppendTag(dst, 1, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(stream))
	dst = protowire.AppendTag(dst, 2, protowire.BytesType)
	return protowire.AppendBytes(dst, data)
}
