package e2e

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

// between stands between apid and sandboxd, and makes one of them seem to be of the next version: each object in what it says has a field more.
type between struct {
	sandboxd string // its socket
	newer    atomic.Value
}

// Whose version is the newer one.
const (
	nobody, sandboxdNewer, apidNewer = "nobody", "sandboxd", "apid"
)

// putBetween takes the place of sandboxd's socket until out is called.
func (s *stack) putBetween(t *testing.T) (b *between, out func()) {
	t.Helper()
	b = &between{sandboxd: s.path("behind.sock")}
	b.newer.Store(nobody)
	if err := os.Rename(s.path("s.sock"), b.sandboxd); err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: s.path("s.sock"), Net: "unixpacket"})
	if err == nil {
		err = os.Chmod(s.path("s.sock"), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			uc, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			go b.serve(wire.NewConn(uc))
		}
	}()
	return b, func() {
		ln.Close() // which removes the socket
		if err := os.Rename(b.sandboxd, s.path("s.sock")); err != nil {
			t.Error(err)
		}
	}
}

func (b *between) serve(apid *wire.Conn) {
	defer apid.Close()
	sandboxd, err := wire.Dial(b.sandboxd)
	if err != nil {
		return
	}
	defer sandboxd.Close()
	go b.pass(apid, sandboxd, apidNewer)
	b.pass(sandboxd, apid, sandboxdNewer)
}

// pass hands on what comes until one of both hangs up, and then the other is hung up on.
func (b *between) pass(from, to *wire.Conn, sender string) {
	defer to.Close()
	for {
		var packet json.RawMessage
		files, err := from.Recv(&packet)
		if err != nil {
			return
		}
		if b.newer.Load() == sender {
			packet = extend(packet)
		}
		err = to.Send(packet, files...)
		wire.CloseAll(files)
		if err != nil {
			return
		}
	}
}

// extend adds a field to an object and to those in it.
func extend(object json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil || fields == nil {
		return object // it is none
	}
	for name, value := range fields {
		fields[name] = extend(value)
	}
	fields["of_the_next_version"] = json.RawMessage(`{"a":[1]}`)
	extended, _ := json.Marshal(fields)
	return extended
}

// betweenVersions has each caller send one request while sandboxd is newer, one while apid is, and one when both are alike again. What a sandboxd tells
// that apid does not know costs no answer; what it does not know itself is refused before anything was begun, and the caller may come back.
func (s *stack) betweenVersions(t *testing.T, callers []*counter) {
	b, out := s.putBetween(t)
	for _, newer := range []string{sandboxdNewer, apidNewer, nobody} {
		if b.newer.Store(newer); newer == nobody {
			out()
		}
		for _, c := range callers {
			good, refused := c.good.Load(), c.refused
			err := c.next()
			for ; err == nil && c.good.Load() == good && c.refused == refused; err = c.next() { // its connection had waited for too long
			}
			switch {
			case err != nil:
				t.Errorf("%s is newer: %s: %v", newer, c.way, err)
			case (c.refused > refused) != (newer == apidNewer):
				t.Errorf("%s is newer: %s: refused: %v", newer, c.way, c.refused > refused)
			}
		}
	}
	if n, err := s.metric("runtools_version_refusals_total"); err != nil || n < float64(len(callers)) {
		t.Error(errors.Join(err, errors.New("not each refusal is counted")), n)
	}
	if !strings.Contains(s.apid.errors(), "sandboxd: is of another version: ") {
		t.Errorf("the log does not tell:\n%s", s.apid.errors())
	}
}
