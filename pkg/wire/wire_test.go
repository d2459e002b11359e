package wire

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pair connects two Conns over a real socket.
func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	uc, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	b = NewConn(uc)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func good() *Job {
	return &Job{Template: "c/run", Argv: []string{"/build/main", ""}, Env: []string{"A=b=c"}, Workspace: Volume{ID: "w", New: true},
		Build: Volume{ID: "b"}, Files: []File{{"a/b.c", 3}, {"-x", 0}}, HasFiles: true, Limits: Limits{WallMS: 1, CPUMS: 2, MemoryBytes: 3 << 20}}
}

func TestRoundTripWithDescriptors(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := a.Send(&Request{Job: good()}, w, w, w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var got Request
	files, err := b.Recv(&got)
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	if !reflect.DeepEqual(got.Job, good()) {
		t.Errorf("got %+v", got.Job)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	for _, f := range files {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Error("a received descriptor is not close-on-exec")
		}
	}
	if _, err := files[2].WriteString("hi"); err != nil {
		t.Error(err)
	}
	CloseAll(files)
	if all, _ := io.ReadAll(r); string(all) != "hi" {
		t.Errorf("through the pipe came %q", all)
	}
}

func openFds(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A peer may send anything; nothing of it may stay open.
func TestBadPacketsLeaveNoDescriptors(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	many := func(n int) []*os.File {
		files := make([]*os.File, n)
		for i := range files {
			files[i] = null
		}
		return files
	}
	for name, c := range map[string]struct {
		body  string
		files int
		want  string
	}{
		"short":                {`{"job":{"templ`, 2, "unexpected EOF"},
		"empty object's end":   {`{`, 1, "unexpected EOF"},
		"unknown field":        {`{"jobs":1}`, 3, "unknown field"},
		"unknown nested field": {`{"job":{"root":"/"}}`, 3, "unknown field"},
		"trailing data":        {`{} {}`, 1, "after the object"},
		"wrong type":           {`{"job":[]}`, 1, "cannot unmarshal"},
		"too many descriptors": {`{"status":{}}`, MaxFds + 1, "too many descriptors"},
		"far too many":         {`{"status":{}}`, 250, "too many descriptors"},
		"too long":             {`{"status":{}}` + strings.Repeat(" ", MaxPacket), 1, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			before := openFds(t)
			fds := make([]int, c.files)
			for i, f := range many(c.files) {
				fds[i] = int(f.Fd())
			}
			if _, _, err := a.uc.WriteMsgUnix([]byte(c.body), unix.UnixRights(fds...), nil); err != nil {
				t.Fatal(err)
			}
			var req Request
			files, err := b.Recv(&req)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if len(files) != 0 {
				t.Error("files were handed over beside an error")
			}
			if after := openFds(t); after != before {
				t.Errorf("%d descriptors open, %d before", after, before)
			}
		})
	}
}

func TestHangUpIsEOF(t *testing.T) {
	a, b := pair(t)
	a.Close()
	if _, err := b.Recv(&Request{}); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
}

// A Kill may cross the Reply: the server then closes with the Kill unread, and the Reply must arrive all the same.
func TestReplyBeforeAnUnreadPacketArrives(t *testing.T) {
	a, b := pair(t)
	if err := a.Send(&Request{Kill: &Kill{Limit: LimitStdout}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Send(&Reply{Result: &Result{Code: 7}}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	var reply Reply
	if _, err := a.Recv(&reply); err != nil || reply.Result == nil || reply.Result.Code != 7 {
		t.Errorf("%+v, %v", reply.Result, err)
	}
	if _, err := a.Recv(&reply); !errors.Is(err, io.EOF) {
		t.Errorf("afterwards: %v, want io.EOF", err)
	}
}

func TestSendRefusesWhatIsTooLong(t *testing.T) {
	a, _ := pair(t)
	if err := a.Send(&Request{Forget: &Forget{IDs: []string{strings.Repeat("x", MaxPacket)}}}); err == nil {
		t.Error("a packet over MaxPacket was sent")
	}
}

// The largest job that the other bounds allow must get through the socket as it is by default.
func TestLargestPacketFitsTheSocket(t *testing.T) {
	a, b := pair(t)
	const frame = `{"forget":{"ids":[""]}}`
	body := []byte(`{"forget":{"ids":["` + strings.Repeat("x", MaxPacket-len(frame)) + `"]}}`)
	if _, err := a.uc.Write(body); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Recv(&Request{}); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Request)
		want   string
	}{
		"two requests":       {func(r *Request) { r.Status = &StatusRequest{} }, "2 of job"},
		"none":               {func(r *Request) { r.Job = nil }, "0 of job"},
		"no argv":            {func(r *Request) { r.Job.Argv = nil }, "job.argv"},
		"relative argv[0]":   {func(r *Request) { r.Job.Argv = []string{"ls"} }, "absolute"},
		"NUL in argv":        {func(r *Request) { r.Job.Argv[1] = "a\x00b" }, "job.argv[1]"},
		"env without name":   {func(r *Request) { r.Job.Env = []string{"=x"} }, "job.env[0]"},
		"env without =":      {func(r *Request) { r.Job.Env = []string{"x"} }, "job.env[0]"},
		"NUL in env":         {func(r *Request) { r.Job.Env = []string{"A=\x00"} }, "job.env[0]"},
		"long words":         {func(r *Request) { r.Job.Argv[1] = strings.Repeat("x", MaxWordBytes) }, "bytes together"},
		"too many words":     {func(r *Request) { r.Job.Argv = append(r.Job.Argv, make([]string, MaxWords)...) }, "words together"},
		"new without id":     {func(r *Request) { r.Job.Workspace = Volume{New: true} }, "job.workspace"},
		"drop an old one":    {func(r *Request) { r.Job.Workspace = Volume{ID: "w", DropUnchanged: true} }, "job.workspace: drop_unchanged"},
		"drop a build":       {func(r *Request) { r.Job.Build = Volume{ID: "b", New: true, DropUnchanged: true} }, "job.build: drop_unchanged"},
		"path as id":         {func(r *Request) { r.Job.Build.ID = "../x" }, "job.build.id"},
		"dots as id":         {func(r *Request) { r.Job.Build.ID = ".." }, "job.build.id"},
		"long id":            {func(r *Request) { r.Job.Workspace.ID = strings.Repeat("x", MaxID+1) }, "job.workspace.id"},
		"too many files":     {func(r *Request) { r.Job.Files = make([]File, MaxFiles+1) }, "job.files"},
		"files without fd":   {func(r *Request) { r.Job.HasFiles = false }, "job.has_files"},
		"negative size":      {func(r *Request) { r.Job.Files[0].Size = -1 }, "job.files[0].size"},
		"absolute file":      {func(r *Request) { r.Job.Files[0].Name = "/etc/passwd" }, "absolute"},
		"file above":         {func(r *Request) { r.Job.Files[1].Name = "a/../../b" }, `job.files[1].name: "a/../../b" has a part ".."`},
		"file here":          {func(r *Request) { r.Job.Files[1].Name = "./b" }, `has a part "."`},
		"empty part":         {func(r *Request) { r.Job.Files[0].Name = "a//b" }, "empty part"},
		"trailing slash":     {func(r *Request) { r.Job.Files[0].Name = "a/" }, "empty part"},
		"NUL in a file name": {func(r *Request) { r.Job.Files[0].Name = "a\x00" }, "NUL"},
		"long part":          {func(r *Request) { r.Job.Files[0].Name = strings.Repeat("x", MaxName+1) }, "a part of 256 bytes"},
		"long name":          {func(r *Request) { r.Job.Files[0].Name = strings.Repeat("x/", MaxPath) + "x" }, "bytes, at most"},
		"name of many parts": {func(r *Request) { r.Job.Files[0].Name = strings.Repeat("x/", MaxParts) + "x" }, "job.files[0].name: has 65 parts, at most 64"},
		"long name repeated": {func(r *Request) { r.Job.Files[0].Name = strings.Repeat("x", 70) + "/" }, `"` + strings.Repeat("x", 64) + `" has an empty`},
		"negative limit":     {func(r *Request) { r.Job.Limits.CPUMS = -1 }, "job.limits"},
		"unknown kill":       {func(r *Request) { r.Job = nil; r.Kill = &Kill{Limit: "wall"} }, "kill.limit"},
		"long label":         {func(r *Request) { r.Job.Label = strings.Repeat("x", MaxLabel+1) }, "job.label"},
		"long account":       {func(r *Request) { r.Job.Account = strings.Repeat("x", MaxLabel+1) }, "job.account"},
		"terminal and stdin": {func(r *Request) { r.Job.Terminal, r.Job.HasStdin = &Terminal{80, 24}, true }, "job.has_stdin"},
		"signal 0":           {func(r *Request) { r.Job = nil; r.Signal = &Signal{} }, "signal.number"},
		"real-time signal":   {func(r *Request) { r.Job = nil; r.Signal = &Signal{Number: 32} }, "signal.number"},
		"bad forget":         {func(r *Request) { r.Job = nil; r.Forget = &Forget{IDs: []string{"a", "b/c"}} }, "forget.ids[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Request{Job: good()}
			c.change(r)
			if err := r.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// FuzzRequest feeds what a hostile apid could send to the root daemon's decoder.
func FuzzRequest(f *testing.F) {
	for _, r := range []*Request{{Job: good()}, {Kill: &Kill{Limit: LimitStdout}}, {Forget: &Forget{IDs: []string{"a"}}}, {Status: &StatusRequest{Jobs: true}}} {
		body, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var r Request
		if Decode(body, &r) != nil || r.Validate() != nil || r.Job == nil {
			return
		}
		for _, file := range r.Job.Files {
			if filepath.IsAbs(file.Name) || !filepath.IsLocal(file.Name) || strings.Contains(file.Name, "\x00") {
				t.Errorf("accepted the file name %q", file.Name)
			}
		}
		for _, id := range []string{r.Job.Workspace.ID, r.Job.Build.ID} {
			if strings.ContainsAny(id, "/\x00") || len(id) > MaxID {
				t.Errorf("accepted the volume id %q", id)
			}
		}
		if n := r.Job.Fds(); n < 0 || n > MaxFds {
			t.Errorf("a job of %d descriptors", n)
		}
	})
}
