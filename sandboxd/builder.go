package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runtools/runtools/pkg/cgroup"
	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/threads"
	"github.com/runtools/runtools/pkg/wire"
)

const (
	hostname = "sandbox" // of every jail; the image's /etc/hosts knows it

	// idsPerJail is the length of a jail's uid and gid range; one extent, so that the kernel maps by an addition.
	idsPerJail = 65536
)

// readyJail is a parked jail and all that belongs to it.
type readyJail struct {
	template  *template
	variant   *variant
	jail      *jail.Jail
	leaf      cgroup.Leaf
	oom       chan struct{} // told when the leaf, or all jobs together, have no memory left
	slot      int
	workspace *volume  // empty, held
	mount     *os.File // of workspace, mapped for this jail
	denials   denials
	loaded    bool  // its runtime waits for the job
	bytes     int64 // memory it takes while it waits
	baseline  int64 // bytes it took before its compiler's job, where a program may follow
	residue   int64 // bytes that its compiler left charged to it: of the artifact, and the kernel's

	// Of a compiler's jail that serves one owner more than once (kept.go).
	owner string
	jobs  int       // it has had
	first int64     // bytes, when it was loaded
	since time.Time // it waits for its owner
}

// builder makes jails from templates and destroys them: the one place that brings pkg/jail, pkg/cgroup and volumes together.
type builder struct {
	spawner  *jail.Spawner
	cgroups  cgroup.Parent
	volumes  *volumes
	slots    *slots
	image    *overlays // its rootfs
	packages *overlays // the operator's mirror, or nil
	devices  *deviceFolders
	policy   atomic.Pointer[policy]
	recorder *recorder     // nil: denied calls alone are looked at
	limits   cgroup.Limits // of a leaf whose job asks for nothing else; Pids is the template's
	loaders  *pinner       // nil: runtimes load wherever the kernel puts them
	mostJobs int           // of a compiler's jail
	log      *slog.Logger

	making, ending chan struct{} // jails that are

	serial  atomic.Uint64  // names of leaves
	live    atomic.Int64   // jails that exist
	built   atomic.Uint64  // since start
	failed  atomic.Uint64  // since start
	destroy sync.WaitGroup // jails being destroyed
}

// atOnce is how many jails are made at one time, and how many are taken apart. Each has a thread wait for locks of the kernel that are one for the whole machine: more
// would be no faster, and threads must not run out (pkg/threads).
const atOnce = threads.Ahead / 4

// build makes one jail and parks it, under the profiles that hold now.
func (b *builder) build(t *template) (*readyJail, error) {
	p := b.policy.Load()
	return b.buildUnder(t, p, p.pick(t))
}

// buildUnder makes a jail of a variant in these phases. What a failed phase leaves is released.
func (b *builder) buildUnder(t *template, p *policy, v *variant) (*readyJail, error) {
	r := &readyJail{template: t, variant: v, slot: -1, oom: make(chan struct{}, 1)}
	b.live.Add(1)
	b.making <- struct{}{}
	defer func() { <-b.making }()
	for _, phase := range []func(*readyJail) error{
		b.reserveIDs, b.makeLeaf, b.spawn, b.makeWorkspace, func(r *readyJail) error { return b.park(r, p.init) },
	} {
		if err := phase(r); err != nil {
			b.failed.Add(1)
			b.release(r)
			return nil, fmt.Errorf("build %s: %w", t.name, err)
		}
	}
	t.built.Add(1)
	b.built.Add(1)
	return r, nil
}

// current tells whether a jail may still begin a job: no profile of it has changed since it was built.
func (b *builder) current(r *readyJail) bool { return b.policy.Load().holds(r.template, r.variant) }

func (b *builder) reserveIDs(r *readyJail) (err error) {
	r.slot, err = b.slots.take()
	return err
}

func (b *builder) makeLeaf(r *readyJail) (err error) {
	limits := b.limits
	limits.Pids = r.template.spec.Pids
	if r.leaf, err = b.cgroups.NewLeaf(fmt.Sprintf("job-%d", b.serial.Add(1)), limits); err != nil {
		return err
	}
	return r.leaf.WatchOOM(func() {
		select {
		case r.oom <- struct{}{}:
		default: // it is told already
		}
	})
}

func (b *builder) spawn(r *readyJail) (err error) {
	r.jail, err = b.spawner.Spawn(b.slots.ids(r.slot))
	return err
}

func (b *builder) makeWorkspace(r *readyJail) (err error) {
	if r.workspace, err = b.volumes.create(workspaceVolume); err != nil {
		return err
	}
	r.mount, err = b.volumes.open(r.workspace, false, r.jail.UserNS())
	return err
}

func (b *builder) park(r *readyJail, initFilter []byte) error {
	filter := r.variant.filter
	root, err := b.image.open(r.slot, r.jail.UserNS())
	if err != nil {
		return err
	}
	defer root.Close()
	dev, err := b.devices.open(r.slot, r.jail.UserNS())
	if err != nil {
		return err
	}
	defer dev.Close()
	var packages *os.File
	if b.packages != nil {
		// As safe as the image: read-only, nosuid and nodev before the jail has it.
		if packages, err = b.packages.open(r.slot, r.jail.UserNS()); err != nil {
			return err
		}
		defer packages.Close()
	}
	doors, err := r.leaf.Doors()
	if err != nil {
		return err
	}
	defer func() {
		for _, door := range doors {
			door.Close()
		}
	}()
	err = r.jail.Build(&jail.Spec{
		Root:       root,
		Dev:        dev,
		Packages:   packages,
		Tmp:        jail.Tmpfs{Bytes: r.template.spec.TmpBytes, Inodes: r.template.spec.TmpFiles},
		Hostname:   hostname,
		Rlimits:    r.template.rlimits(),
		InitFilter: initFilter,
		Filter:     filter.BPF,
		Listen:     filter.Notifies,
		Doors:      doors,
	})
	if err != nil {
		return err
	}
	if filter.Notifies {
		b.listen(r)
	}
	return b.addSuccessor(r)
}

// listen answers the calls of a jail that its filter hands over.
func (b *builder) listen(r *readyJail) {
	listener := seccomp.NewListener(r.jail.Listener())
	if b.recorder != nil {
		go b.recorder.answer(listener, r.variant.filter, r.template.name, b.log)
	} else {
		go r.denials.answer(listener, r.variant, b.log)
	}
}

// loadWeight is the CPU weight of a leaf whose runtime is being loaded: the lowest there is, so that jobs go first.
const loadWeight = 1

// loadPatience bounds the start of a runtime, at that weight on a busy machine.
const loadPatience = 2 * time.Minute

// load starts the template's runtime in a built jail, at that CPU weight, where it waits for the job. Nothing foreign has been in there yet.
func (b *builder) load(r *readyJail, weight uint64) error {
	fail := func(err error) error {
		b.failed.Add(1)
		return fmt.Errorf("load %s: %w", r.template.name, err)
	}
	if err := r.leaf.SetWeight(weight); err != nil {
		return fail(err)
	}
	// A job that takes the jail has it pinned anew (takeJail).
	release, err := b.loaders.pin(r.jail.RunnerPID())
	if err != nil {
		return fail(err)
	}
	defer release()
	parked := r.template.spec.Parked
	if err := r.jail.Load(expand(parked.Argv, b.limits.MemoryBytes), parked.environment(), loadPatience); err != nil {
		return fail(err)
	}
	if err := r.leaf.SetWeight(b.limits.CPUWeight); err != nil {
		return fail(err)
	}
	// What loading took for a moment is not the program's.
	u, err := r.leaf.ResetPeak()
	if err != nil && !errors.Is(err, cgroup.ErrPeakStays) {
		return fail(err)
	}
	r.loaded, r.bytes, r.first = true, u, u
	return nil
}

// keeps says whether a jail for a job of this owner, who is "" if nobody, could serve that owner's next job as well.
func (b *builder) keeps(t *template, owner string) bool {
	return owner != "" && b.mostJobs > 1 && t.compiles()
}

// maxGrowth is how many times the memory that a compiler's jail took at first it may come to take.
const maxGrowth = 3

// renewPatience bounds how long a compiler takes to be ready again.
const renewPatience = 30 * time.Second

// errWornOut means that a compiler's jail has had its time. It is no failure.
var errWornOut = errors.New("the jail has served long enough")

// clear takes a compiler's job out of its jail.
func (b *builder) clear(r *readyJail) error {
	if r.jobs++; r.jobs >= b.mostJobs {
		return errWornOut
	}
	// Who was started for the last job, and is not the compiler, would be there in the next.
	if left, err := r.leaf.Processes(); err != nil || len(left) != 1 {
		return errors.Join(err, fmt.Errorf("%d processes, want the compiler alone", len(left)))
	}
	return r.jail.Clear()
}

// renew makes a cleared jail ready for the next job of its owner: at the weight of a job, for that owner's crowd waits for it.
func (b *builder) renew(r *readyJail) error {
	if err := r.leaf.SetMemory(b.limits.MemoryBytes); err != nil {
		return err
	}
	release, err := b.loaders.pin(r.jail.RunnerPID()) // off the CPU of its last job; it runs, see clear
	if err != nil {
		return err
	}
	defer release()
	if err := r.jail.Renew(renewPatience); err != nil {
		return err
	}
	if r.workspace == nil {
		if err := b.makeWorkspace(r); err != nil {
			return err
		}
	}
	if r.bytes, err = r.leaf.ResetPeak(); err != nil && !errors.Is(err, cgroup.ErrPeakStays) {
		return err
	}
	if r.bytes > maxGrowth*r.first {
		return errWornOut
	}
	return nil
}

// destroyLater ends a jail in the background; after runs when its last process is dead.
func (b *builder) destroyLater(r *readyJail, after func()) { b.destroyAfter(nil, r, after) }

// destroyAfter does so once the caller of the jail's job has been answered: what ends has memory and namespaces to free, and would take the CPUs from the answer.
func (b *builder) destroyAfter(answered <-chan struct{}, r *readyJail, after func()) {
	b.destroy.Go(func() {
		if answered != nil {
			<-answered
		}
		r.jail.Close()
		after()
		b.release(r)
	})
}

// release gives back whatever of a jail exists. Order: processes, then what they used, then the ids, which the next jail may get.
func (b *builder) release(r *readyJail) {
	var errs []error
	if r.jail != nil {
		r.jail.Close() // no thread waits for the death of the last process, which may take long
	}
	b.ending <- struct{}{}
	defer func() { <-b.ending }()
	if r.mount != nil {
		r.mount.Close()
	}
	if r.workspace != nil {
		errs = append(errs, b.volumes.release(r.workspace, false))
	}
	if r.leaf != nil {
		errs = append(errs, r.leaf.Delete())
	}
	if r.slot >= 0 {
		b.slots.put(r.slot)
	}
	b.live.Add(-1)
	if err := errors.Join(errs...); err != nil {
		b.log.Error("destroy jail", "template", r.template.name, "error", err)
	}
}

// slots are the uid ranges: no two live jails share one, so a jail's user can do nothing to another jail's processes, whose
// limits and keys the kernel counts by uid.
type slots struct {
	first uint32
	mu    sync.Mutex
	free  []int
}

func newSlots(first uint32, count int) *slots {
	s := &slots{first: first}
	for i := count - 1; i >= 0; i-- {
		s.free = append(s.free, i)
	}
	return s
}

func (s *slots) take() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		return -1, wire.Errorf(wire.CodeOverloaded, "max_jails reached")
	}
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return slot, nil
}

func (s *slots) put(slot int) {
	s.mu.Lock()
	s.free = append(s.free, slot)
	s.mu.Unlock()
}

func (s *slots) ids(slot int) jail.IDs {
	return jail.IDs{First: s.first + uint32(slot)*idsPerJail, Count: idsPerJail}
}
