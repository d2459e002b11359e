package main

// pendingEvents are events that wait for a caller who is behind. Output waits as the program wrote it and takes its form when it is taken: as an event a byte
// is forty or more, and a program can have each of its bytes come by itself, by O_DIRECT on the pipe, and stdout and stderr in turn. So what waits is
// the output and little more, and output_limit bounds it.
type pendingEvents struct {
	list  []pendingEvent
	last  [2]int // the number of the last of stdout and of stderr in list, and 1; 0: none is there
	bytes int    // of data
}

// pendingEvent is an event, or output of which one event is made, or several.
type pendingEvent struct {
	name string
	data []byte        // output, or the event's body
	text bool          // it is output
	form func() []byte // if not nil, makes the body when it is taken: of what is in memory anyhow, as the answer has it too
}

const (
	// mostPending is how many wait before output of a stream joins the last of that stream, though some of the other's came between: a caller so far behind is
	// told the order within each stream, and not that of the two.
	mostPending = 1000
	// chunkBytes is how much is given its form at a time, about.
	chunkBytes = 64 << 10
)

func (p *pendingEvents) add(name string, body []byte) {
	p.list = append(p.list, pendingEvent{name: name, data: body})
	p.bytes += len(body)
}

// addOutput copies the data, which ends with a whole character.
func (p *pendingEvents) addOutput(which int, data []byte) {
	p.bytes += len(data)
	if at := p.last[which]; at > 0 && (at == len(p.list) || len(p.list) >= mostPending) {
		e := &p.list[at-1]
		e.data = append(e.data, data...)
		return
	}
	p.list = append(p.list, pendingEvent{name: streamNames[which], data: append([]byte(nil), data...), text: true})
	p.last[which] = len(p.list)
}

// take gives the next of them their form, chunkBytes and the larger part of an event at most unless it is one that is no output.
func (p *pendingEvents) take(shape func(b []byte, name string, data []byte) []byte) (chunk []byte) {
	for len(p.list) > 0 && len(chunk) < chunkBytes {
		e := &p.list[0]
		data := e.data
		switch {
		case e.text:
			if len(data) > chunkBytes {
				data = data[:chunkBytes]
				data = data[:chunkBytes-unfinished(data)]
			}
			chunk = shape(chunk, e.name, append(appendStream([]byte{'{'}, "text", data), '}'))
		case e.form != nil:
			chunk = shape(chunk, e.name, e.form())
		default:
			chunk = shape(chunk, e.name, data)
		}
		p.bytes -= len(data)
		if e.data = e.data[len(data):]; len(e.data) > 0 {
			continue
		}
		p.list = p.list[1:]
		for which := range p.last {
			p.last[which] = max(0, p.last[which]-1)
		}
	}
	if len(p.list) == 0 {
		p.list = nil // or the array would hold what was taken
	}
	return chunk
}
