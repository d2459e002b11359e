package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// pool keeps jails of one template ready. How many follows from recent demand, between the template's floor and ceiling.
//
//	take: ready jail, or none: the job builds a cold one, which is slower and never an error
//	fill: builds while stock < target
//	trim: destroys what an idle template has too many
type pool struct {
	template *template
	memory   poolBounds
	ready    chan *readyJail // has room for any ceiling
	stock    atomic.Int64    // jails in ready, and those being built
	bytes    atomic.Int64    // memory of one, as measured when the last was made; 0: not known yet
	made     atomic.Int64    // since start
	proven   atomic.Bool     // the last try made one
	wake     chan struct{}   // the first filler has something to look at
	help     chan struct{}   // and so have the others
	changed  bell            // when one was taken, or more are wanted
	demand   demand
}

// pools are all pools and the goroutines that fill them.
type pools struct {
	builder *builder
	log     *slog.Logger
	all     map[string]*pool
	kept    *kept

	successors *successors

	idle  func() (time.Duration, error) // idleTime
	looks chan struct{}                 // one filler looks at it at a time

	jobs    atomic.Int64  // running now
	quiet   bell          // when none is any more
	cpus    int           // and so many fillers has a pool; a compiler's half as many
	turn    chan struct{} // how many build at a time, all pools together: no more than CPUs, and builds of jobs find room beside them
	load    chan struct{} // and how many load runtimes, at the lowest weight: no pool can take all places
	budget  int64         // bytes that all ready jails may take together
	held    atomic.Int64  // bytes that they take, and those that are being loaded will
	cancel  context.CancelFunc
	workers sync.WaitGroup
	hits    atomic.Uint64
	misses  atomic.Uint64
	parked  atomic.Uint64 // hits whose runtime was loaded
	reused  atomic.Uint64 // hits of kept
}

// retryBuild is how long a filler waits after a build failed: the cause is seldom gone in less.
const retryBuild = time.Second

func startPools(b *builder, templates map[string]*template, bounds map[string]poolBounds, budget int64, cpus int, log *slog.Logger) *pools {
	ctx, cancel := context.WithCancel(context.Background())
	ps := &pools{
		builder: b, log: log, all: map[string]*pool{}, kept: newKept(), successors: newSuccessors(), budget: budget, cancel: cancel,
		cpus: cpus, idle: idleTime, looks: make(chan struct{}, 1), turn: make(chan struct{}, min(cpus, atOnce/2)), load: make(chan struct{}, 2*cpus),
	}
	for name, t := range templates {
		ps.all[name] = &pool{
			template: t, memory: bounds[name], ready: make(chan *readyJail, mostReady), wake: make(chan struct{}, 1), help: make(chan struct{}, 1),
		}
	}
	ps.startFillers(ctx)
	ps.workers.Go(func() { ps.trimAll(ctx) })
	return ps
}

// startFillers has compilers, which take longest to load, wait until every other pool has had its floor, or has failed, once.
//
// Each pool but theirs has a filler for each CPU. A jail takes longer to make than to use, so one filler cannot keep up with a demand that the machine could serve;
// and a pool that is empty stays empty, for jobs that start their runtimes themselves leave the fillers, which come last, no time. Of 68 requests of
// Python a second, on two CPUs, 25 to 56 % found a jail ready with one filler, and 99 to 100 % with two; p99 was 184 to 851 ms, and 22 to 44.
// Compilers have half as many: to warm one up takes more CPU than a compile without, and a crowd pays for it. C# on two CPUs, 2 at a time: 0.92, 0.89 and 0.81 of
// the bare runs a second; with two fillers 0.82 and 0.80.
func (ps *pools) startFillers(ctx context.Context) {
	var compilers, others []*pool
	for _, p := range ps.all {
		if p.template.compiles() {
			compilers = append(compilers, p)
		} else {
			others = append(others, p)
		}
	}
	var first sync.WaitGroup
	first.Add(len(others))
	for _, p := range others {
		ps.startFilling(ctx, p, ps.cpus, func() {}, sync.OnceFunc(first.Done))
	}
	for _, p := range compilers {
		ps.startFilling(ctx, p, max(1, ps.cpus/2), first.Wait, func() {})
	}
}

// startFilling starts the fillers of one pool, which begin after a wait.
func (ps *pools) startFilling(ctx context.Context, p *pool, fillers int, wait, settled func()) {
	for i := range fillers {
		wake := p.wake
		if i > 0 {
			wake = p.help
		}
		ps.workers.Go(func() { wait(); ps.fill(ctx, p, wake, settled) })
	}
}

// fill keeps one pool full, alone or beside others, and says so when it had its floor for the first time, or could not. Helpers work only while
// jails can be made: the first try, and each after a failure until one succeeds, is the first filler's.
func (ps *pools) fill(ctx context.Context, p *pool, wake chan struct{}, settled func()) {
	defer settled()
	for ctx.Err() == nil {
		if floor, _ := p.bounds(); p.made.Load() >= floor {
			settled()
		}
		var reserved int64
		ok := wake == p.wake || p.proven.Load()
		if ok && p.stock.Load() < p.target() && ps.leavesTheCPU(p.template) {
			ps.awaitIdle(ctx) // before memory is set aside
		}
		if ok {
			reserved, ok = ps.reserve(p)
		}
		if !ok {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		p.poke() // there may be work for another, too
		r, err := ps.make(ctx, p)
		if err == nil {
			p.made.Add(1)
			stays := ps.admit(p, r, reserved)
			p.proven.Store(true) // now that it is known what one takes
			if !stays {
				continue
			}
			p.ready <- r
			if !ps.builder.current(r) { // the profiles changed while it was made, perhaps after retire had looked
				ps.retire(p)
			}
			continue
		}
		settled()
		p.proven.Store(false)
		ps.held.Add(-reserved)
		p.stock.Add(-1)
		if ctx.Err() != nil {
			return
		}
		ps.log.Error("fill pool", "error", err)
		select {
		case <-time.After(retryBuild):
			p.poke()
		case <-ctx.Done():
		}
	}
}

// make builds a jail and loads its runtime, if it has one, unless all is about to end.
func (ps *pools) make(ctx context.Context, p *pool) (*readyJail, error) {
	ps.awaitQuiet(ctx, p)
	ps.turn <- struct{}{}
	if ctx.Err() != nil {
		<-ps.turn
		return nil, ctx.Err()
	}
	r, err := ps.builder.build(p.template)
	<-ps.turn
	if err != nil || p.template.spec.Parked == nil {
		return r, err
	}
	ps.load <- struct{}{}
	if err = ctx.Err(); err == nil {
		err = ps.builder.load(r, loadWeight)
	}
	<-ps.load
	if err != nil {
		ps.builder.release(r)
		return nil, err
	}
	return r, nil
}

// take returns a ready jail, or builds one if there is none that can run a job with this memory limit, bytes. owner is "" unless the job may
// have a jail that served the same owner before.
func (ps *pools) take(p *pool, memory int64, owner string, terminal bool) (r *readyJail, hit bool, err error) {
	by := keptBy{p.template, owner}
	keeps := ps.builder.keeps(p.template, owner)
	if keeps {
		for r := ps.kept.take(by, memory); r != nil; r = ps.kept.take(by, memory) {
			if r.jail.Intact() && ps.builder.current(r) {
				return ps.reuse(r), true, nil
			}
			ps.destroyKept([]*readyJail{r})
		}
	}
	p.asked()
	// Else the loaded runtime would take what the program needs, or all of it. And one that is to have a terminal starts by itself: it may have
	// looked at its streams while it was loaded.
	bytes, parked := p.bytes.Load(), p.template.spec.Parked
	fits := 2*bytes <= memory && !(terminal && parked != nil)
	if fits {
		if r := ps.takeReady(p); r != nil {
			ps.hits.Add(1)
			if r.loaded {
				ps.parked.Add(1)
			}
			if keeps && r.loaded {
				r.owner = owner
				ps.kept.lend(by)
			}
			return r, true, nil
		}
	}
	if keeps {
		if r := ps.kept.await(by, memory); r != nil && ps.builder.current(r) {
			return ps.reuse(r), true, nil
		} else if r != nil {
			ps.destroyKept([]*readyJail{r})
		}
	}
	ps.misses.Add(1)
	p.poke()
	r, err = ps.builder.build(p.template)
	if err != nil || parked == nil || !parked.OnMiss || !fits || bytes == 0 {
		return r, false, err
	}
	if err := ps.builder.load(r, ps.builder.limits.CPUWeight); err != nil {
		ps.log.Warn("a job starts its command, as the runtime did not load", "error", err)
		ps.builder.release(r)
		r, err = ps.builder.build(p.template)
		return r, false, err
	}
	return r, false, nil
}

// takeReady returns a jail that is ready, or nil.
func (ps *pools) takeReady(p *pool) *readyJail {
	for {
		select {
		case r := <-p.ready:
			ps.drop(p, r)
			if !ps.builder.current(r) { // retire is about to get to it
				ps.builder.destroyLater(r, func() {})
				continue
			}
			if r.jail.Intact() {
				return r
			}
			ps.log.Warn("a ready jail was killed", "template", p.template.name)
			ps.builder.destroyLater(r, func() {})
		default:
			return nil
		}
	}
}

// reuse accounts for a kept jail that a job has taken.
func (ps *pools) reuse(r *readyJail) *readyJail {
	ps.held.Add(-r.bytes)
	ps.hits.Add(1)
	ps.parked.Add(1)
	ps.reused.Add(1)
	ps.kept.lend(r.keptBy())
	return r
}

// giveBack ends what a job did with a compiler's jail, in the background: it is renewed for its owner's next job, or destroyed. after runs
// when nothing of the job is in it any more.
func (ps *pools) giveBack(r *readyJail, after func()) {
	b := ps.builder
	b.destroy.Go(func() {
		err := b.clear(r)
		if err == nil && !b.current(r) {
			err = errWornOut
		}
		if err == nil {
			after()
			after = func() {}
			err = b.renew(r)
		}
		if err == nil && !ps.hold(r.bytes) {
			err = errWornOut
		}
		if err != nil {
			if !errors.Is(err, errWornOut) {
				ps.log.Warn("a compiler's jail is not kept", "template", r.template.name, "error", err)
			}
			ps.kept.lost(r.keptBy())
			b.destroyLater(r, after)
			return
		}
		if surplus := ps.kept.put(r); surplus != nil {
			ps.held.Add(-surplus.bytes)
			b.destroyLater(surplus, func() {})
		}
	})
}

func (ps *pools) destroyKept(jails []*readyJail) {
	for _, r := range jails {
		ps.held.Add(-r.bytes)
		ps.builder.destroyLater(r, func() {})
	}
}

// asked notes that a job wants a jail.
func (p *pool) asked() {
	p.demand.add(int64(monotonic() / time.Second))
	p.changed.ring()
}

// drop accounts for a jail that left ready.
func (ps *pools) drop(p *pool, r *readyJail) {
	ps.held.Add(-r.bytes)
	p.stock.Add(-1)
	p.changed.ring()
	p.poke()
}

func (p *pool) poke() {
	for _, wake := range []chan struct{}{p.wake, p.help} {
		select {
		case wake <- struct{}{}:
		default: // it has yet to look
		}
	}
}

// trimAll looks once a second at what is too many, and wakes fillers that waited for memory.
func (ps *pools) trimAll(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			second := int64(monotonic() / time.Second)
			for _, p := range ps.all {
				p.demand.roll(second)
				ps.trim(p)
				p.poke()
			}
			ps.destroyKept(ps.kept.expire(now.Add(-keptIdle)))
		case <-ctx.Done():
			return
		}
	}
}

func (ps *pools) trim(p *pool) {
	for int64(len(p.ready)) > p.target() {
		select {
		case r := <-p.ready:
			ps.drop(p, r)
			ps.builder.destroyLater(r, func() {})
		default:
			return
		}
	}
}

// retire destroys the ready jails whose profile does not hold any more; the filler makes others.
func (ps *pools) retire(p *pool) (retired int) {
	for range len(p.ready) {
		select {
		case r := <-p.ready:
			if ps.builder.current(r) {
				p.ready <- r // never blocks: it has left the channel, and its place in stock it has kept
				continue
			}
			ps.drop(p, r)
			ps.builder.destroyLater(r, func() {})
			retired++
		default:
		}
	}
	return retired
}

// close ends the fillers and destroys what they made.
func (ps *pools) close() {
	ps.cancel()
	ps.workers.Wait()
	ps.destroyKept(ps.kept.close())
	close(ps.successors.closed)
	for _, p := range ps.all {
		close(p.ready)
		for r := range p.ready {
			ps.builder.destroyLater(r, func() {})
		}
	}
	ps.builder.destroy.Wait()
}

// demand remembers how many jails were asked for in each second of the last minute. Seconds are of the monotonic clock: after a step backwards of
// the other all would fall into one second, until that clock had caught up.
type demand struct {
	mu     sync.Mutex
	second int64 // of counts[second % len]
	counts [60]int
}

func (d *demand) add(now int64) {
	d.roll(now)
	d.mu.Lock()
	d.counts[d.second%int64(len(d.counts))]++
	d.mu.Unlock()
}

// roll forgets what is older than a minute.
func (d *demand) roll(now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := int64(len(d.counts))
	for d.second = max(d.second, now-n); d.second < now; {
		d.second++
		d.counts[d.second%n] = 0
	}
}

// peak is the most that one second of the last minute asked for.
func (d *demand) peak() (most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.counts {
		most = max(most, n)
	}
	return most
}
