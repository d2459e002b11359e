package wire

// Meter is one limit of a job, and what is known of its use. A figure that the kernel does not keep is nil; none is ever worked out.
type Meter struct {
	Name  string `json:"name"`  // of Meter*, or of a limit that no request sets: "processes", "tmp_bytes"
	Unit  string `json:"unit"`  // "ms", "ms/s", "bytes", "count" or "level"
	Limit *int64 `json:"limit"` // nil: none
	Used  *int64 `json:"used"`  // when the main process had ended
	Peak  *int64 `json:"peak"`  // the most that it was at any time
	Fired *bool  `json:"fired"` // it ended the job, or something was refused because of it
}

// Names of the meters whose limits a client sets.
const (
	MeterWall   = "wall_time"
	MeterCPU    = "cpu_time"
	MeterMemory = "memory"
)
