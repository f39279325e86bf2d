package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/network"
)

// ours is the table as the library knows it.
func ours() *nftables.Table {
	return &nftables.Table{Name: table, Family: nftables.TableFamilyINet}
}

// portMap is a bridge's map of ports for a family.
func portMap(bridge string, six bool) *nftables.Set {
	address := nftables.TypeIPAddr
	if six {
		address = nftables.TypeIP6Addr
	}
	return &nftables.Set{
		Table: ours(), Name: mapName(bridge, six), IsMap: true, Concatenation: true,
		KeyType:  nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService),
		DataType: nftables.MustConcatSetType(address, nftables.TypeInetService),
	}
}

// element is a mapped port as the kernel keeps it: the parts of a key or a value fill whole registers of four bytes.
func element(p network.Port, a netip.Addr, id string) nftables.SetElement {
	key := []byte{protocolNumber(p.Protocol), 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(key[4:], p.Host)
	value := append(a.AsSlice(), 0, 0, 0, 0)
	binary.BigEndian.PutUint16(value[len(value)-4:], p.Container)
	return nftables.SetElement{Key: key, Val: value, Comment: id[:min(len(id), 127)]} // nft's most for a comment
}

func protocolNumber(p network.Protocol) byte {
	if p == network.UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// install puts the chains of a bridge in place of those that it had, in one transaction, and leaves the mapped ports as they are.
func (b *Bridge) install() error {
	c := &b.cfg
	nft, err := b.rules()
	if err != nil {
		return err
	}
	nft.AddTable(ours())
	for _, six := range c.families() {
		if err := nft.AddSet(portMap(c.Name, six), nil); err != nil {
			return err
		}
	}
	for _, ch := range c.chains() {
		added := nft.AddChain(kernelChain(&ch))
		nft.FlushChain(added)
		for i := range ch.rules {
			nft.AddRule(&nftables.Rule{Table: added.Table, Chain: added, Exprs: encode(&ch.rules[i], c.Name)})
		}
	}
	return commit(nft, "write the rules of bridge "+c.Name)
}

// commit performs a transaction; the kernel takes all of it or nothing.
func commit(nft *nftables.Conn, deed string) error {
	err := nft.Flush()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%s: this kernel has no nftables with NAT (CONFIG_NF_TABLES_INET, NFT_NAT, NFT_FIB_INET): %w", deed, err)
	}
	return fmt.Errorf("%s: %w", deed, err)
}

func kernelChain(c *chain) *nftables.Chain {
	hook := map[string]*nftables.ChainHook{
		"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput,
		"forward": nftables.ChainHookForward, "postrouting": nftables.ChainHookPostrouting,
	}[c.hook]
	k := &nftables.Chain{
		Table: ours(), Name: c.name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: new(nftables.ChainPriority(c.priority)),
	}
	if c.nat {
		k.Type = nftables.ChainTypeNAT
	}
	return k
}

// encode writes a rule in the kernel's own instructions.
func encode(r *rule, bridge string) []expr.Any {
	var es []expr.Any
	for i := range r.matches {
		es = append(es, encodeMatch(&r.matches[i])...)
	}
	switch r.verdict {
	case accept:
		return append(es, &expr.Verdict{Kind: expr.VerdictAccept})
	case drop:
		return append(es, &expr.Verdict{Kind: expr.VerdictDrop})
	case masquerade:
		return append(es, &expr.Masq{})
	default:
		return append(es, encodeMapped(bridge, r.verdict == mapped6)...)
	}
}

// Registers: 1 is the first of sixteen bytes, 8 to 11 are the four parts of it, and so on for 2.
const (
	register       = 1
	secondPart     = 9
	secondRegister = 2
)

// encodeMapped looks a packet's protocol and port up and sends it to what was found.
func encodeMapped(bridge string, six bool) []expr.Any {
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: register, RegProtoMin: secondPart}
	if six {
		nat.Family, nat.RegProtoMin = unix.NFPROTO_IPV6, secondRegister
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Payload{DestRegister: secondPart, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: register, DestRegister: register, IsDestRegSet: true, SetName: mapName(bridge, six)},
		nat,
	}
}

func encodeMatch(m *match) []expr.Any {
	op := expr.CmpOpEq
	if m.not {
		op = expr.CmpOpNeq
	}
	family := func(f byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register}, &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{f}}}
	}
	link := func(key expr.MetaKey) []expr.Any {
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, m.link)
		return []expr.Any{&expr.Meta{Key: key, Register: register}, &expr.Cmp{Op: op, Register: register, Data: name}}
	}
	bit := func(key expr.CtKey, bits uint32) []expr.Any {
		return []expr.Any{
			&expr.Ct{Key: key, Register: register},
			&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: make([]byte, 4)},
		}
	}
	switch m.what {
	case from:
		return link(expr.MetaKeyIIFNAME)
	case to:
		return link(expr.MetaKeyOIFNAME)
	case source, destination:
		if m.prefix.Addr().Is6() {
			return append(family(unix.NFPROTO_IPV6), encodeSubnet(m, op, 8, 24)...)
		}
		return append(family(unix.NFPROTO_IPV4), encodeSubnet(m, op, 12, 16)...)
	case local:
		return []expr.Any{
			&expr.Fib{Register: register, FlagDADDR: true, ResultADDRTYPE: true},
			&expr.Cmp{Op: op, Register: register, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
		}
	case translated:
		return bit(expr.CtKeySTATUS, 1<<5) // IPS_DST_NAT
	case known:
		return bit(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
	default:
		return family(unix.NFPROTO_IPV4)
	}
}

// encodeSubnet compares an address with a subnet; from and to are where the header has the sender and the receiver.
func encodeSubnet(m *match, op expr.CmpOp, from, to uint32) []expr.Any {
	a := m.prefix.Addr().AsSlice()
	load := &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: from, Len: uint32(len(a))}
	if m.what == destination {
		load.Offset = to
	}
	es := []expr.Any{load}
	if !m.prefix.IsSingleIP() {
		mask := net.CIDRMask(m.prefix.Bits(), len(a)*8)
		es = append(es, &expr.Bitwise{SourceRegister: register, DestRegister: register, Len: load.Len, Mask: mask, Xor: make([]byte, len(a))})
	}
	return append(es, &expr.Cmp{Op: op, Register: register, Data: a})
}

// elements are those of a record, for either map; none where it has no address of the family.
func elements(r *record, six bool) []nftables.SetElement {
	a := r.Address
	if six {
		a = r.Address6
	}
	if !a.IsValid() {
		return nil
	}
	es := make([]nftables.SetElement, 0, len(r.Ports))
	for _, p := range r.Ports {
		es = append(es, element(p.value(), a, r.Container))
	}
	return es
}

// way is where an element leads from and to, for comparing.
func way(e *nftables.SetElement) string { return string(e.Key) + string(e.Val) }
