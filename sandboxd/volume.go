package main

import (
	"container/list"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/wire"
)

// A volume is a tmpfs that can outlive a job: the workspace of a session, or the artifact of a compile job.
//
//	create --> held by a jail or job --release--> kept under its id --acquire--> held ...
//	                 |                               |
//	                 +------- no id, forgotten ------+--> gone
//
// Nothing in sandboxd ever opens a path inside a volume.
//
// It begins as a detached mount, which is in no namespace: to clone one that a vault has means to wait for the vault's thread, 50 to 100 us of the way to a
// program's first instruction. Into a vault goes what has to outlive us, and what there is no descriptor for.
type volume struct {
	id    string // "" until a client names it
	kind  volumeKind
	mount *os.File // detached, or nil: the vault alone has it
	vault *vault   // or nil
	path  string   // in the vault

	// Guarded by volumes.mu.
	held    int           // how many jobs have it: one, or any number that share it
	shared  bool          // those have it read-only
	ending  int           // of those, how many have been answered; their jails are being torn down
	doomed  bool          // to be dropped when no job has it
	freed   chan struct{} // closed when held becomes 0; made by those who wait
	idle    *list.Element // in volumes.idle, when not held
	lastUse time.Time
	bytes   int64 // held when its last job ended, see fill.go
	near    bool  // has an id and keeps its mount: volumes.near counts it

	lasting bool // has its name in the vault: it outlives us. Set, under volumes.mu, by a job that alone holds it
}

// volumes is every volume there is.
type volumes struct {
	vaults vaults
	max    int
	most   int64 // bytes in all
	quota  map[volumeKind]quota

	clones   bool // detached mounts can be cloned
	mostNear int
	freeing  chan struct{} // descriptors that are being closed: with the last of a volume the kernel frees its memory

	mu     sync.Mutex
	byID   map[string]*volume
	count  int        // all volumes, those without an id included
	near   int        // of those with an id, how many keep a descriptor
	filled int64      // bytes in them
	idle   *list.List // named volumes that no job holds, longest idle first
}

type volumeKind int

const (
	workspaceVolume volumeKind = iota
	buildVolume
)

// quota bounds one volume.
type quota struct{ bytes, files int64 }

func newVolumes(max int, workspace, build quota, anchors *anchors) *volumes {
	return &volumes{
		vaults: vaults{anchors: anchors},
		max:    max,
		most:   math.MaxInt64,
		quota:  map[volumeKind]quota{workspaceVolume: workspace, buildVolume: build},
		byID:   map[string]*volume{},
		idle:   list.New(),

		freeing: make(chan struct{}, atOnce),
	}
}

// mostNear is how many volumes with an id keep a descriptor, sessions and artifacts together: the first ones, and fewer where spareDescriptors says so. More would pass a limit of
// 20,000, which some hosts have, beside the jails of the example's max_jails.
const mostNear = 1000

// canCloneDetached says whether this is Linux 6.15 or newer.
func canCloneDetached() bool {
	tmpfs, err := jail.NewTmpfs(1<<20, 10, jail.UserID)
	if err != nil {
		return false
	}
	defer tmpfs.Close()
	clone, err := jail.CloneDetached(tmpfs, false, nil)
	if err != nil {
		return false
	}
	clone.Close()
	return true
}

// create makes an empty volume that the caller holds. It has no id yet.
func (vs *volumes) create(kind volumeKind) (*volume, error) {
	vs.mu.Lock()
	full := vs.count >= vs.max
	if !full {
		vs.count++
	}
	vs.mu.Unlock()
	if full {
		return nil, wire.Errorf(wire.CodeOverloaded, "max_volumes %d reached", vs.max)
	}
	v, err := vs.mount(kind)
	if err != nil {
		vs.mu.Lock()
		vs.count--
		vs.mu.Unlock()
		return nil, err
	}
	return v, nil
}

func (vs *volumes) mount(kind volumeKind) (*volume, error) {
	q := vs.quota[kind]
	tmpfs, err := jail.NewTmpfs(q.bytes, q.files, jail.UserID)
	if err != nil {
		return nil, err
	}
	v := &volume{kind: kind, mount: tmpfs, held: 1}
	if vs.clones {
		return v, nil
	}
	if err := vs.settle(v, false); err != nil {
		tmpfs.Close()
		return nil, err
	}
	return v, nil
}

// settle puts a volume into a vault. The caller alone holds it. keep: it has its detached mount as well.
func (vs *volumes) settle(v *volume, keep bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("put a volume into a vault: %w", err)
		}
	}()
	mount := v.mount
	if keep {
		if mount, err = jail.CloneDetached(v.mount, false, nil); err != nil {
			return err
		}
		defer mount.Close()
	}
	vault, err := vs.vaults.pick()
	if err != nil {
		return err
	}
	path, err := vault.add(mount)
	if err != nil {
		vs.vaults.release(vault)
		return err
	}
	v.vault, v.path = vault, path
	if !keep {
		v.mount.Close()
		v.mount = nil
	}
	return nil
}

// name gives a volume that the caller holds its id.
func (vs *volumes) name(v *volume, id string) error {
	if err := vs.register(v, id); err != nil || v.near || v.mount == nil {
		return err
	}
	return vs.settle(v, false)
}

func (vs *volumes) register(v *volume, id string) error {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.byID[id] != nil {
		return wire.Errorf(wire.CodeVolumeInUse, "volume %s exists", id)
	}
	if err := vs.mayGrowLocked(); err != nil {
		return err
	}
	v.id = id
	vs.byID[id] = v
	if v.near = v.mount != nil && vs.near < vs.mostNear; v.near {
		vs.near++
	}
	return nil
}

// last has a volume that the caller holds outlive us. Its job is over, and not yet answered: what a caller was told is there, is there.
func (vs *volumes) last(v *volume) error {
	if v.vault == nil {
		if err := vs.settle(v, true); err != nil {
			return err
		}
	}
	if err := v.vault.name(v.path, v.id); err != nil {
		return err
	}
	vs.mu.Lock()
	v.lasting = true
	vs.mu.Unlock()
	return nil
}

// teardownWait bounds the wait for the jail of a job that was answered; it takes well under a millisecond unless the machine is starved.
const teardownWait = 5 * time.Second

// acquire takes hold of the volume of this id, alone or together with others who only read. The next job of a session may come before the
// jail of the last one is gone: it waits for that.
func (vs *volumes) acquire(id string, shared bool) (*volume, error) {
	deadline := time.Now().Add(teardownWait)
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for {
		v := vs.byID[id]
		switch {
		case v == nil || v.doomed:
			return nil, wire.Errorf(wire.CodeUnknownVolume, "no volume %s", id)
		case v.held == 0:
			if err := vs.mayGrowLocked(); err != nil && !shared {
				return nil, err
			}
			v.held, v.shared = 1, shared
			vs.idle.Remove(v.idle)
			v.idle = nil
			return v, nil
		case shared && v.shared:
			v.held++
			return v, nil
		case v.ending < v.held || time.Now().After(deadline):
			return nil, wire.Errorf(wire.CodeVolumeInUse, "volume %s is in use", id)
		}
		if v.freed == nil {
			v.freed = make(chan struct{})
		}
		freed := v.freed
		vs.mu.Unlock()
		select {
		case <-freed:
		case <-time.After(time.Until(deadline)):
		}
		vs.mu.Lock()
	}
}

// end says that a job has been answered and its jail will be gone in a moment. release follows. mount is the job's, or nil, and closed.
func (vs *volumes) end(v *volume, mount *os.File, measured bool) {
	if mount != nil {
		if !measured { // where it cannot be, what is known of it stands
			vs.measure(v, mount)
		}
		mount.Close()
	}
	vs.mu.Lock()
	v.ending++
	vs.mu.Unlock()
}

// release lets go of a volume after the jail is gone. Without an id, or if the client gave it up meanwhile, the last to let go drops it.
func (vs *volumes) release(v *volume, keep bool) error {
	vs.mu.Lock()
	v.held--
	v.ending = max(0, v.ending-1) // what no job has had was never ended
	if v.held > 0 {
		vs.mu.Unlock()
		return nil
	}
	drop := !keep || v.id == "" || v.doomed
	if drop {
		vs.forgetLocked(v)
	} else {
		v.lastUse = time.Now()
		v.idle = vs.idle.PushBack(v)
	}
	if v.freed != nil {
		close(v.freed)
		v.freed = nil
	}
	vs.mu.Unlock()
	if drop {
		return vs.unmount(v)
	}
	return nil
}

// forgetLocked makes the id free again.
func (vs *volumes) forgetLocked(v *volume) {
	if v.id != "" && vs.byID[v.id] == v {
		delete(vs.byID, v.id)
	}
	if v.idle != nil {
		vs.idle.Remove(v.idle)
		v.idle = nil
	}
	v.doomed = true
}

// forget drops the volume of this id now, or when its last job ends.
func (vs *volumes) forget(id string) error {
	vs.mu.Lock()
	v := vs.byID[id]
	if v == nil {
		vs.mu.Unlock()
		return nil
	}
	vs.forgetLocked(v)
	held := v.held > 0
	vs.mu.Unlock()
	if held {
		return nil // release sees doomed
	}
	return vs.unmount(v)
}

// ids lists every volume that has one.
func (vs *volumes) ids() []string {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return slices.Collect(maps.Keys(vs.byID))
}

// list is the ids that come after one, in order, at most max.
func (vs *volumes) list(after string, max int) []string {
	var ids []string
	for _, id := range vs.ids() {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[:min(max, len(ids))]
}

// forgetIdle drops every volume that was last used before the given time: those of a client that died without a word.
func (vs *volumes) forgetIdle(before time.Time) (dropped int, err error) {
	for {
		vs.mu.Lock()
		front := vs.idle.Front()
		if front == nil || front.Value.(*volume).lastUse.After(before) {
			vs.mu.Unlock()
			return dropped, err
		}
		v := front.Value.(*volume)
		vs.forgetLocked(v)
		vs.mu.Unlock()
		dropped++
		if e := vs.unmount(v); e != nil {
			err = e
		}
	}
}

func (vs *volumes) unmount(v *volume) (err error) {
	if v.mount != nil {
		vs.freeing <- struct{}{}
		v.mount.Close()
		<-vs.freeing
	}
	if v.vault != nil {
		err = v.vault.remove(v.path)
		vs.vaults.release(v.vault)
	}
	vs.mu.Lock()
	vs.count--
	if v.near {
		vs.near--
	}
	vs.fillLocked(v, 0)
	vs.mu.Unlock()
	if err != nil {
		return fmt.Errorf("drop volume: %w", err)
	}
	return nil
}

func (vs *volumes) open(v *volume, readOnly bool, userNS *os.File) (*os.File, error) {
	if v.mount != nil {
		return jail.CloneDetached(v.mount, readOnly, userNS)
	}
	return v.vault.open(v.path, readOnly, userNS)
}

// counts is how many there are, and of these how many of each kind have an id.
func (vs *volumes) counts() (all, workspaces, builds int) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for _, v := range vs.byID {
		if v.kind == buildVolume {
			builds++
		}
	}
	return vs.count, len(vs.byID) - builds, builds
}

// usage of the filesystem that a mount belongs to: bytes and inodes.
func usage(mount *os.File) (bytes, files int64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(mount.Fd()), &st); err != nil {
		return 0, 0, fmt.Errorf("statfs volume: %w", err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize, int64(st.Files - st.Ffree), nil
}
