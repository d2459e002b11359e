package main

import "github.com/runtools/runtools/pkg/wire"

// wasFull tells whether a job had as many processes at one time as it may have.
func (r *attackRun) wasFull(res *wire.Result) bool {
	r.t.Helper()
	if res != nil {
		for _, m := range res.Meters {
			if m.Name == "processes" && m.Peak != nil {
				r.t.Logf("%d of %d processes within %d ms", *m.Peak, *m.Limit, res.WallNS/1e6)
				if *m.Peak > *m.Limit {
					r.t.Errorf("%s: %d processes, the limit is %d", r.a.title, *m.Peak, *m.Limit)
				}
				return *m.Peak == *m.Limit
			}
		}
	}
	return false
}
