package wire

// Root is what a container sees in the place of the machine's files. It is made in the container's own mount namespace, so it is
// gone with its last process. Without Layers it is the machine's files, with binds over what is there.
type Root struct {
	// Layers are directories below Store, topmost first; each holds one layer in overlayfs' form. Their names have no colon and
	// no comma. One layer without Upper is seen as it is.
	Store  string
	Layers []string
	// Upper takes what the container changes, and Work is overlayfs' own, both absolute and on one file system; empty: nothing
	// may be changed.
	Upper, Work string
	// Dir is an empty directory of the machine's where it is put together.
	Dir string
	// Mounts are made in order. Then Masked paths show nothing, and ReadOnly ones cannot be written; those that are not there
	// are passed over.
	Mounts           []Mount
	Masked, ReadOnly []string
	// Own says that the one layer is the container's own: without Upper it may be changed.
	Own bool
	// Sealed makes the root itself read-only, but for what is mounted in it.
	Sealed bool
}

// MountKind says what is made at a place of the container's.
type MountKind uint8

// The kinds of Mount.
const (
	MountNew    MountKind = 1 + iota // a file system of type FS with Data
	MountBind                        // Source: a file or directory of the machine
	MountDevice                      // a device of number Device, a mount of its own; Mode is as mknod(2) takes it, without a type a character device
	MountLink                        // a symbolic link to Source
)

// Mount is one thing that is made at Target, an absolute path as the container sees it. Links of the image's are followed within the
// image; what lacks on the way is made.
type Mount struct {
	Kind   MountKind
	Target string
	Source string
	// Under is a directory of the machine that a bind's Source is relative to. It is not left: no link on the way is followed,
	// since what is below may be a user's. Empty: Source is absolute, and the agent's word.
	Under string
	FS    string
	Data  string
	Flags uint64 // MS_…
	// Device is as mknod(2) takes it.
	Device uint64
	Mode   uint32
}

func (s *Spec) put4(p *put) {
	p.uint(s.Namespaces)
	p.bool(s.Root != nil)
	if s.Root != nil {
		s.Root.put(p)
	}
	p.string(s.Workdir)
	p.string(s.Hostname)
	p.string(string(s.Seccomp))
	p.uint(uint64(s.StopSignal))
	p.uint(uint64(s.Enter))
	p.uint(uint64(s.IPC))
	p.int(s.ErrBytes)
	p.int(s.ErrFiles)
	p.string(s.NetNS)
}

func (s *Spec) take4(t *take) {
	s.Namespaces = t.uint()
	if t.bool() {
		s.Root = new(Root)
		s.Root.take(t)
	}
	s.Workdir = t.string()
	s.Hostname = t.string()
	if b := t.string(); b != "" {
		s.Seccomp = []byte(b)
	}
	s.StopSignal = uint32(t.uint())
	s.Enter = uint32(t.uint())
	s.IPC = uint32(t.uint())
	s.ErrBytes = t.int()
	s.ErrFiles = t.int()
	s.NetNS = t.string()
}

func (r *Root) put(p *put) {
	p.string(r.Store)
	p.strings(r.Layers)
	p.string(r.Upper)
	p.string(r.Work)
	p.string(r.Dir)
	p.uint(uint64(len(r.Mounts)))
	for i := range r.Mounts {
		m := &r.Mounts[i]
		p.uint(uint64(m.Kind))
		for _, v := range []string{m.Target, m.Source, m.Under, m.FS, m.Data} {
			p.string(v)
		}
		p.uint(m.Flags)
		p.uint(m.Device)
		p.uint(uint64(m.Mode))
	}
	p.strings(r.Masked)
	p.strings(r.ReadOnly)
	p.bool(r.Sealed)
	p.bool(r.Own)
}

func (r *Root) take(t *take) {
	r.Store = t.string()
	r.Layers = t.strings()
	r.Upper = t.string()
	r.Work = t.string()
	r.Dir = t.string()
	for n := t.count(); n > 0 && !t.bad; n-- {
		m := Mount{Kind: MountKind(t.uint())}
		for _, v := range []*string{&m.Target, &m.Source, &m.Under, &m.FS, &m.Data} {
			*v = t.string()
		}
		m.Flags = t.uint()
		m.Device = t.uint()
		m.Mode = uint32(t.uint())
		r.Mounts = append(r.Mounts, m)
	}
	r.Masked = t.strings()
	r.ReadOnly = t.strings()
	r.Sealed = t.bool()
	r.Own = t.bool()
}
