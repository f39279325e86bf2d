package bridge

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/network"
)

// dying is the group of links that are about to be removed.
const dying = 0x70616e64

// remover undoes records. The kernel takes tens of milliseconds to remove a link or an element of a map, waiting for its processors
// while nobody else can change any, and no longer for many than for one; so those who come meanwhile are gathered and served together.
type remover struct {
	mu      sync.Mutex
	running bool
	waiting []removal // at most one for each container
}

type removal struct {
	record *record
	done   chan error
}

// undo removes what a record names, and the record last, so that what fails is tried again by the next Remove or Sweep.
func (b *Bridge) undo(r *record) error {
	one := removal{r, make(chan error, 1)}
	b.remover.mu.Lock()
	b.remover.waiting = append(b.remover.waiting, one)
	leads := !b.remover.running
	b.remover.running = true
	b.remover.mu.Unlock()
	if leads {
		b.serve()
	}
	if err := <-one.done; err != nil {
		return fmt.Errorf("remove container %s from bridge %s: %w", r.Container, b.cfg.Name, err)
	}
	return nil
}

// serve undoes the records of those who wait, on the goroutine of the first, until nobody does.
func (b *Bridge) serve() {
	for {
		b.remover.mu.Lock()
		batch := b.remover.waiting
		b.remover.waiting = nil
		b.remover.running = len(batch) > 0
		b.remover.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		records := make([]*record, 0, len(batch))
		for _, one := range batch {
			records = append(records, one.record)
		}
		err := errors.Join(b.unmapPorts(records), b.cut(records))
		for _, one := range batch {
			if err != nil {
				one.done <- err
				continue
			}
			b.mu.Lock()
			one.done <- b.book.drop(one.record)
			b.mu.Unlock()
		}
	}
}

// unmapPorts takes containers' ports away; those that are not there are no error.
func (b *Bridge) unmapPorts(records []*record) error {
	err := b.unmap(func(_ *nftables.Conn, _ *nftables.Set, es []nftables.SetElement) ([]nftables.SetElement, error) {
		return es, nil
	}, records)
	if errors.Is(err, unix.ENOENT) { // the kernel refuses all for one that is not there, be it a map
		if err = b.install(); err == nil {
			err = b.unmap(present, records)
		}
	}
	return errors.Join(err, b.forget(records...))
}

// present are those elements that a map has, by their keys.
func present(nft *nftables.Conn, set *nftables.Set, es []nftables.SetElement) ([]nftables.SetElement, error) {
	has, err := nft.GetSetElements(set)
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for _, e := range has {
		keys[string(e.Key)] = true
	}
	var there []nftables.SetElement
	for _, e := range es {
		if keys[string(e.Key)] {
			there = append(there, e)
		}
	}
	return there, nil
}

// unmap deletes those elements of records that are chosen, in one transaction.
func (b *Bridge) unmap(choose func(*nftables.Conn, *nftables.Set, []nftables.SetElement) ([]nftables.SetElement, error), records []*record) error {
	nft, err := b.rules()
	if err != nil {
		return err
	}
	some := false
	for _, six := range b.cfg.families() {
		var es []nftables.SetElement
		for _, r := range records {
			es = append(es, elements(r, six)...)
		}
		if len(es) == 0 {
			continue
		}
		set := portMap(b.cfg.Name, six)
		if es, err = choose(nft, set, es); err != nil {
			return err
		}
		some = some || len(es) > 0
		if err := deleteElements(nft, set, es); err != nil {
			return err
		}
	}
	if !some {
		return nil
	}
	return commit(nft, "unmap ports")
}

// deleteElements adds deletions to a transaction, in messages that stay below the 64 KiB that the length of an attribute can say.
func deleteElements(nft *nftables.Conn, set *nftables.Set, es []nftables.SetElement) error {
	for len(es) > 0 {
		n := min(len(es), 128)
		if err := nft.SetDeleteElements(set, es[:n]); err != nil {
			return err
		}
		es = es[n:]
	}
	return nil
}

// addElements is deleteElements for additions.
func addElements(nft *nftables.Conn, set *nftables.Set, es []nftables.SetElement) error {
	for len(es) > 0 {
		n := min(len(es), 128)
		if err := nft.SetAddElements(set, es[:n]); err != nil {
			return err
		}
		es = es[n:]
	}
	return nil
}

// cut removes the links of records with both their ends; those that are not there are no error.
func (b *Bridge) cut(records []*record) error {
	some := false
	for _, r := range records {
		if r.Link == "" {
			continue
		}
		there, err := b.mark(r.Link)
		if err != nil {
			return err
		}
		some = some || there
	}
	if !some {
		return nil
	}
	// Links are named by their group in a request of our own; it goes to the bridge's namespace, wherever this runs.
	return network.Do(fmt.Sprintf("/proc/self/fd/%d", b.machine), removeDying)
}

// mark puts a link among those that are about to be removed.
func (b *Bridge) mark(name string) (there bool, err error) {
	link, err := b.routes.LinkByName(name)
	if err == nil {
		err = b.routes.LinkSetGroup(link, dying)
	}
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing || errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return true, err
}

// removeDying removes all links that are marked. None is no error: a namespace took its link along.
func removeDying() error {
	r := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(dying)))
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
