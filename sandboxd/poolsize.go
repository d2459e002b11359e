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
// is taken for an empty one; the filler makes one at a time, so that no second is made by that.
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
