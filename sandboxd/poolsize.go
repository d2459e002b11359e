package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// poolBounds, an entry of [pools] in sandboxd.toml, is the operator's word on the memory that one template's ready jails take, in MiB. What it
// leaves out follows from the numbers of jails in the language's jail.json.
type poolBounds struct {
	Floor   *int64 `toml:"floor_mib"`   // however idle
	Ceiling *int64 `toml:"ceiling_mib"` // and at most
}

const (
	// emptyJail is what a ready jail without a loaded runtime is taken to hold, bytes: its pages, namespaces, mounts and cgroups.
	emptyJail = 512 << 10

	// mostReady bounds a pool whatever its jails are said to take.
	mostReady = 1000
)

// bounds are the least and the most jails to keep ready, by what one was last seen to take. Before the first has been made, a loaded one
// is taken for an empty one; one is made at a time until then (pool.proven), so that no second is made by that.
func (p *pool) bounds() (floor, ceiling int64) {
	s, each := &p.template.spec, p.bytes.Load()
	if each == 0 {
		each = emptyJail
	}
	floor, ceiling = int64(s.Pool), int64(s.PoolMax)
	if p.memory.Ceiling != nil {
		ceiling = min(*p.memory.Ceiling<<20/each, mostReady)
		floor = min(floor, ceiling)
	}
	if p.memory.Floor != nil {
		floor = min((*p.memory.Floor<<20+each-1)/each, mostReady) // that much at least
		if p.memory.Ceiling != nil {
			floor = min(floor, ceiling)
		}
		ceiling = max(floor, ceiling)
	}
	return floor, ceiling
}

// target is how many jails the pool should hold now.
func (p *pool) target() int64 {
	floor, ceiling := p.bounds()
	return min(max(int64(p.demand.peak()), floor), ceiling)
}

// reserve counts one more jail in, and sets memory aside for it, if the pool wants one and all pools together can have it: others may be loaded at the
// same time. bytes are what the last one took; of one that was never made they are 0, and admit sees what it takes. The floor of a template is kept in
// any case: it is the operator's word.
func (ps *pools) reserve(p *pool) (bytes int64, ok bool) {
	for {
		stock, bytes := p.stock.Load(), p.bytes.Load()
		floor, _ := p.bounds()
		if stock >= max(floor, p.target()) {
			return bytes, false
		}
		if !p.stock.CompareAndSwap(stock, stock+1) {
			continue // another filler, or a job: look again
		}
		if stock < floor {
			ps.held.Add(bytes)
			return bytes, true
		}
		if ps.hold(bytes) {
			return bytes, true
		}
		p.stock.Add(-1)
		return bytes, false
	}
}

// hold counts bytes as taken unless they are more than there is room for.
func (ps *pools) hold(bytes int64) bool {
	for {
		held := ps.held.Load()
		if held+bytes > ps.budget {
			return false
		}
		if ps.held.CompareAndSwap(held, held+bytes) {
			return true
		}
	}
}

// admit puts what a jail takes in the place of what was reserved for it, and destroys one for which there is no room after all. What it would take
// is known from then on, so it is not made again until there is.
func (ps *pools) admit(p *pool, r *readyJail, reserved int64) (stays bool) {
	held := ps.held.Add(r.bytes - reserved)
	p.bytes.Store(r.bytes)
	if floor, _ := p.bounds(); r.bytes <= reserved || held <= ps.budget || p.stock.Load() <= floor {
		return true
	}
	ps.drop(p, r)
	ps.builder.destroyLater(r, func() {})
	return false
}

// checkPools refuses bounds of what the image does not have.
func checkPools(pools map[string]poolBounds, templates map[string]*template) error {
	for name := range pools {
		if templates[name] == nil {
			return fmt.Errorf("pools.%q: the image has no such template, but %s", name, strings.Join(slices.Sorted(maps.Keys(templates)), ", "))
		}
	}
	return nil
}

// validate names the key that is out of bounds.
func (b poolBounds) validate(name string) error {
	for key, mib := range map[string]*int64{"floor_mib": b.Floor, "ceiling_mib": b.Ceiling} {
		if mib != nil && (*mib < 0 || *mib > 1<<20) {
			return fmt.Errorf("pools.%q.%s is %d, must be 0 to %d", name, key, *mib, 1<<20)
		}
	}
	if b.Floor != nil && b.Ceiling != nil && *b.Floor > *b.Ceiling {
		return fmt.Errorf("pools.%q: floor_mib is %d, above ceiling_mib, which is %d", name, *b.Floor, *b.Ceiling)
	}
	return nil
}
