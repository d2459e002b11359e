package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/wire"
)

// noise is what had disturbed a jail before its job began: the runtime that was loaded ahead was loaded at the lowest CPU weight.
type noise struct{ before wire.Noise }

// beginNoise reads the counters of a jail that is ready. The files are the kernel's: nothing foreign has been in the jail, and nobody could
// put a file of his own there. Threads of the runtime that have ended since are not in them, which counts their switches to the job.
func beginNoise(r *readyJail) (*noise, error) {
	d, err := r.leaf.Details()
	if err != nil {
		return nil, err
	}
	n := &noise{wire.Noise{Throttled: d.Throttled}}
	folder := fmt.Sprintf("/proc/%d", r.jail.RunnerPID())
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return nil, err
	}
	// proc_pid_stat(5): majflt is the 12th field, and the 2nd is a name in parentheses that may hold anything: fields begins with the 3rd.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 10 {
		return nil, fmt.Errorf("%s/stat: %q", folder, stat)
	}
	if n.before.MajorFaults, err = strconv.ParseInt(string(fields[9]), 10, 64); err != nil {
		return nil, fmt.Errorf("%s/stat: %w", folder, err)
	}
	threads, err := os.ReadDir(folder + "/task")
	if err != nil {
		return nil, err
	}
	for _, t := range threads {
		status, err := os.ReadFile(folder + "/task/" + t.Name() + "/status")
		if err != nil {
			continue // it has ended meanwhile
		}
		_, value, _ := bytes.Cut(status, []byte("\nnonvoluntary_ctxt_switches:"))
		line, _, _ := bytes.Cut(value, []byte{'\n'})
		count, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s/task/%s/status: %w", folder, t.Name(), err)
		}
		n.before.InvoluntarySwitches += count
	}
	return n, nil
}

// since is what came on top of that until the program ended.
func (n *noise) since(r *readyJail, exit jail.Exit) (*wire.Noise, error) {
	d, err := r.leaf.Details()
	if err != nil {
		return nil, err
	}
	return &wire.Noise{
		Throttled:           d.Throttled - n.before.Throttled,
		InvoluntarySwitches: max(0, exit.InvoluntarySwitches-n.before.InvoluntarySwitches),
		MajorFaults:         max(0, exit.MajorFaults-n.before.MajorFaults),
	}, nil
}
