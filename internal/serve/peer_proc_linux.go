package serve

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownerByProc finds a socket in the kernel's tables of TCP connections.
func ownerByProc(local, remote netip.AddrPort) (uint32, error) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		uid, found, err := lookInTable(table, local, remote)
		if found || err != nil {
			return uid, err
		}
	}
	return 0, unix.ENOENT
}

func lookInTable(path string, local, remote netip.AddrPort) (uid uint32, found bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, fmt.Errorf("whose a connection is: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		w := strings.Fields(lines.Text()) // sl local remote st queues timers retransmits uid timeout inode …
		if len(w) < 10 || !isAddr(w[1], local) || !isAddr(w[2], remote) {
			continue
		}
		if w[9] == "0" {
			return 0, true, errOrphan
		}
		n, err := strconv.ParseUint(w[7], 10, 32)
		return uint32(n), true, err
	}
	return 0, false, lines.Err()
}

// isAddr says whether a word of the table, words of the machine's order in hexadecimal and a port, is an address.
func isAddr(word string, a netip.AddrPort) bool {
	host, port, ok := strings.Cut(word, ":")
	if p, err := strconv.ParseUint(port, 16, 16); !ok || err != nil || uint16(p) != a.Port() {
		return false
	}
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return false
	}
	b := make([]byte, len(raw))
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	got, _ := netip.AddrFromSlice(b) // its length was looked at
	return got.Unmap() == a.Addr().Unmap()
}
