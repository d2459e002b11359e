package main

import (
	"strconv"

	"github.com/runtools/runtools/pkg/wire"
)

// limitRow is one line of the table that a request with "explain" gets for each stage: what sandboxd measured, or the output, which it does not see.
type limitRow struct {
	wire.Meter
	setBy string // field of the request; "": the operator alone sets it
}

// explainLimits makes the table of a stage; nil if sandboxd was not asked for one.
func explainLimits(limits *stageLimits, out *jobOutput) []limitRow {
	if out.result.Meters == nil {
		return nil
	}
	fields := map[string]string{
		wire.MeterWall: limits.stage + "_timeout", wire.MeterCPU: limits.stage + "_cpu_time", wire.MeterMemory: limits.stage + "_memory_limit",
	}
	rows := make([]limitRow, 0, len(out.result.Meters)+2)
	for _, m := range out.result.Meters {
		rows = append(rows, limitRow{m, fields[m.Name]})
	}
	output := func(name string, c *capture) limitRow {
		return limitRow{wire.Meter{Name: name, Unit: "bytes", Limit: &c.limit, Used: &c.total, Peak: &c.total, Fired: new(c.over())}, "output_limit"}
	}
	return append(rows, output(wire.LimitStdout, &out.stdout), output(wire.LimitStderr, &out.stderr))
}

// appendLimits writes nothing if there is no table.
func appendLimits(b []byte, rows []limitRow) []byte {
	for i, r := range rows {
		if i == 0 {
			b = append(b, `,"limits":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendText(b, []byte(r.Name))
		b = append(b, `,"set_by":`...)
		b = appendOptional(b, r.setBy)
		b = append(b, `,"unit":`...)
		b = appendText(b, []byte(r.Unit))
		b = appendFigure(append(b, `,"limit":`...), r.Limit)
		b = appendFigure(append(b, `,"used":`...), r.Used)
		b = appendFigure(append(b, `,"peak":`...), r.Peak)
		b = append(b, `,"fired":`...)
		if r.Fired == nil {
			b = append(b, "null}"...)
		} else {
			b = append(strconv.AppendBool(b, *r.Fired), '}')
		}
	}
	if len(rows) > 0 {
		b = append(b, ']')
	}
	return b
}

func appendFigure(b []byte, n *int64) []byte {
	if n == nil {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, *n, 10)
}
