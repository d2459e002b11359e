package main

import "encoding/binary"

// form is how a session's workspace is held between its requests. A mounted tmpfs costs 12 KiB of kernel memory, and each one slows
// down the end of every job on the machine: the kernel walks all of them under cgroup_mutex. So most workspaces are not held that way.
//
//	         a job changed it              small, idle, one of many
//	given ----------------------> mounted --------------------------> packed
//	  ^                              ^                                  |
//	  | left as it was given         +---------- a request came --------+
//	(none)
//
// A fork adds a fourth form (loan.go).
//
// A request gets a given workspace as a new one with its own files added. A request that fails leaves the form as it was, or mounted.
type form uint8

const (
	formNone    form = iota // there is none yet
	formMounted             // a volume of sandboxd
	formGiven               // only the files that requests gave: session.stored has them, see encodeFiles
	formPacked              // session.stored is a compressed tar, see pack.go
	formLent                // a volume that others have as well, see loan.go
	forms                   // how many there are
)

func (f form) String() string { return [forms]string{"none", "mounted", "given", "packed", "lent"}[f] }

// remains are what a job left of a workspace.
type remains struct {
	form   form
	bytes  int64  // mounted: in use; lent: what the workspace counts for
	inodes int64  // mounted: in use
	leaves int    // mounted: jobs whose cgroups it may keep, see leaves.go
	stored []byte // given, packed: owned by the session from here on
}

// packable says that a workspace is small enough to be worth the copying.
func (r *remains) packable() bool {
	return r.form == formMounted && r.bytes <= packBytes && r.inodes <= packInodes
}

// Files beyond these bounds are cheaper in a tmpfs than here: they would be sent anew with every request of the session.
const (
	givenFiles = 16
	givenBytes = 16 << 10 // names and contents together
)

func fewAndSmall(files []requestFile) bool { return sizeWithin(files, givenFiles, givenBytes) }

func sizeWithin(files []requestFile, number, bytes int) bool {
	if len(files) > number {
		return false
	}
	size := 0
	for _, f := range files {
		size += len(f.name) + len(f.content)
	}
	return size <= bytes
}

// encodeFiles copies files into one allocation of just their size: a session outlives the request body that they point into.
func encodeFiles(files []requestFile) []byte {
	size := 0
	for _, f := range files {
		size += 2*binary.MaxVarintLen32 + len(f.name) + len(f.content)
	}
	b := make([]byte, 0, size)
	for _, f := range files {
		b = append(binary.AppendUvarint(b, uint64(len(f.name))), f.name...)
		b = append(binary.AppendUvarint(b, uint64(len(f.content))), f.content...)
	}
	return append(make([]byte, 0, len(b)), b...)
}

// decodeFiles reads what encodeFiles wrote. The contents point into it.
func decodeFiles(b []byte) (files []requestFile) {
	next := func() []byte {
		n, width := binary.Uvarint(b)
		part := b[width:][:n]
		b = b[width:][n:]
		return part
	}
	for len(b) > 0 {
		name := string(next())
		files = append(files, requestFile{name: name, content: next()})
	}
	return files
}

// layOver puts a request's files over those that a workspace held. kept is how many of the old ones stand, at the front.
func layOver(held, files []requestFile) (all []requestFile, kept int) {
	if len(held) == 0 {
		return files, 0
	}
	given := make(map[string]bool, len(files)) // both may be a thousand, for each of a thousand tests
	for _, f := range files {
		given[f.name] = true
	}
	all = make([]requestFile, 0, len(held)+len(files))
	for _, f := range held {
		if !given[f.name] {
			all = append(all, f)
		}
	}
	return append(all, files...), len(all)
}

// settle records what a job left behind. The caller has acquired s.
func (t *sessions) settle(s *session, left remains, env []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left.form != formMounted {
		s.volume = newVolume() // sandboxd may still be dropping the old one
	}
	s.env = env
	left.leaves = s.leavesWith(&left)
	t.holdLocked(s, left)
}

// restart gives an acquired session a new and empty life, when its volume is lost or was never made.
func (t *sessions) restart(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restartLocked(s)
}

func (t *sessions) restartLocked(s *session) {
	t.forget(volumeName(s.volume))
	s.volume = newVolume()
	s.env = nil
	t.holdLocked(s, remains{})
}

// renew has the next request make a volume of another name, when it is not known what became of this one. The session holds its files
// by itself.
func (t *sessions) renew(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(volumeName(s.volume))
	s.volume = newVolume()
}

func (t *sessions) holdLocked(s *session, left remains) {
	if s.loan != nil {
		t.returnLocked(s.loan)
		s.loan = nil
	}
	size := s.cost(&left)
	if t.byID[s.key] == s { // else it was deleted while it was busy, and its figures with it
		t.chargeLocked(s.owner, size-s.size)
		t.forms[s.form]--
		t.forms[left.form]++
	}
	if left.leaves < s.leaves {
		s.copyAt = 0
	}
	s.size, s.form, s.stored, s.leaves, s.packable = size, left.form, left.stored, left.leaves, left.packable()
}
