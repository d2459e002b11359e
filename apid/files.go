package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/runtools/runtools/pkg/wire"
)

// The files of a session over HTTP.
//
//	GET    /v1/sessions/{id}               what is known of it
//	DELETE /v1/sessions/{id}
//	GET    /v1/sessions/{id}/files         a list
//	GET    /v1/sessions/{id}/files/{path}  the bytes, or a range of them
//	PUT    /v1/sessions/{id}/files/{path}
//	DELETE /v1/sessions/{id}/files/{path}  a folder with all that is in it
//	GET    /v1/sessions/{id}/archive       a tar of all
//	POST   /v1/sessions/{id}/fork          copies
//
// The workspace is foreign code's, so nobody here opens anything in it: a tool of the image does, in a jail like that of any program, as
// the jail's user. A link in the workspace leads it to what a program of the session could read as well, and nowhere else.

// pathSession is the route of one session.
const pathSession = "/v1/sessions/{id}"

// ofSession is for what a key does to one of its sessions.
func ofSession(serve func(*server, *call, string, string) *apiError) func(*server, *call) *apiError {
	return func(s *server, c *call) *apiError {
		if err := checkSessionID(c.target); err != nil {
			return err
		}
		if !s.sessions.has(c.key.ID, c.target) {
			return refuse(errNotFound, "this key has no session %s", shown(c.target))
		}
		return serve(s, c, c.target, c.file)
	}
}

// ofNewSession is for what makes the session if there is none.
func ofNewSession(serve func(*server, *call, string, string) *apiError) func(*server, *call) *apiError {
	return func(s *server, c *call) *apiError {
		if err := checkSessionID(c.target); err != nil {
			return err
		}
		return serve(s, c, c.target, c.file)
	}
}

func (s *server) mostOutput() int64 { return s.cfg.Limits.OutputLimit.Max }

func (s *server) sessionInfo(c *call, name, _ string) *apiError {
	info, ok := s.sessions.info(c.key.ID, name)
	if !ok {
		return refuse(errNotFound, "this key has no session %s", shown(name))
	}
	body, _ := json.Marshal(struct {
		SessionID string    `json:"session_id"`
		Bytes     int64     `json:"bytes"`
		Env       int       `json:"env_bytes"`
		Busy      bool      `json:"busy"`
		LastUsed  time.Time `json:"last_used"`
		Expires   time.Time `json:"expires"`
	}{name, info.bytes, info.env, info.busy, info.lastUsed.UTC().Truncate(time.Millisecond), info.lastUsed.Add(time.Duration(s.cfg.Sessions.Idle)).UTC().Truncate(time.Millisecond)})
	c.reply(append(body, '\n'))
	return nil
}

// listing prints a NUL-terminated record for each file: type, size, mode, time of change, path. %p begins with "./".
var listing = []string{"/usr/bin/find", ".", "-mindepth", "1", "-printf", `%y\t%s\t%m\t%T@\t%p\0`}

// fileEntry is one file of a list.
type fileEntry struct {
	Path     string  `json:"path"`
	PathRaw  string  `json:"path_base64,omitempty"` // where path is not UTF-8
	Type     string  `json:"type"`                  // file, folder, link, other
	Size     int64   `json:"size"`                  // bytes
	Mode     string  `json:"mode"`                  // octal
	Modified float64 `json:"modified"`              // seconds since 1970
}

func (s *server) listFiles(c *call, name, _ string) *apiError {
	t := &tool{argv: listing, most: s.mostOutput(), advice: "delete files, or have a program of the session list a part of them"}
	if err := s.withTool(c, name, t); err != nil {
		return err
	}
	ctx, done := s.whileWanted(c)
	defer done()
	list := t.out.stdout.data
	made, err := s.unread.room(ctx, c.key.ID, int64(len(list)), 2*streamSize(list)) // names as strings, and in JSON
	if err != nil {
		return err
	}
	defer made()
	files := []fileEntry{}
	for record := range bytes.SplitSeq(list, []byte{0}) {
		if entry, ok := parseEntry(record); ok {
			files = append(files, entry)
		}
	}
	body, failure := json.Marshal(map[string][]fileEntry{"files": files})
	if failure != nil {
		return internal(failure)
	}
	s.unread.reply(c, append(body, '\n'))
	return nil
}

// parseEntry reads what find printed. The name is foreign, and last; find itself is the image's.
func parseEntry(record []byte) (e fileEntry, ok bool) {
	fields := bytes.SplitN(record, []byte{'\t'}, 5)
	if len(fields) != 5 {
		return e, false
	}
	var err [2]error
	e.Size, err[0] = strconv.ParseInt(string(fields[1]), 10, 64)
	e.Modified, err[1] = strconv.ParseFloat(string(fields[3]), 64)
	if errors.Join(err[:]...) != nil || math.IsInf(e.Modified, 0) || math.IsNaN(e.Modified) {
		return e, false
	}
	e.Mode = string(fields[2])
	switch string(fields[0]) {
	case "f":
		e.Type = "file"
	case "d":
		e.Type = "folder"
	case "l":
		e.Type = "link"
	default:
		e.Type = "other"
	}
	path := bytes.TrimPrefix(fields[4], []byte("./"))
	e.Path = strings.ToValidUTF8(string(path), "\ufffd")
	if !utf8.Valid(path) {
		e.PathRaw = base64.StdEncoding.EncodeToString(path)
	}
	return e, true
}

// readFileScript prints the size of a file to stderr and a range of its bytes to stdout: path, offset, count. An offset below 0 is from the end.
const readFileScript = `[ -f "$1" ] || exit 44
size=$(stat -Lc %s -- "$1") || exit
echo "$size" >&2
first=$2
[ "$first" -ge 0 ] || first=$((size + first))
[ "$first" -ge 0 ] || first=0
[ "$first" -lt "$size" ] || [ "$size" = 0 ] || exit 0
exec dd if="$1" iflag=skip_bytes,count_bytes skip="$first" count="$3" bs=64K status=none`

func (s *server) getFile(c *call, name, path string) *apiError {
	if err := checkPath(path); err != nil {
		return err
	}
	r := byteRange{count: math.MaxInt64}
	var ranged bool
	if len(c.ctx.Request.Header.Peek(fasthttp.HeaderIfRange)) == 0 { // we give no validators, so none that a caller has can be right
		r, ranged = parseRange(string(c.ctx.Request.Header.Peek(fasthttp.HeaderRange)))
	}
	count := min(r.count, s.mostOutput()+1)
	t := &tool{argv: []string{"/bin/sh", "-c", readFileScript, "sh", "./" + path, strconv.FormatInt(r.first, 10), strconv.FormatInt(count, 10)},
		most: s.mostOutput(), advice: "ask for a range of the file (Range: bytes=0-1048575)"}
	if err := s.withTool(c, name, t); err != nil {
		return err
	}
	size, parseErr := strconv.ParseInt(strings.TrimSpace(string(t.out.stderr.data)), 10, 64)
	if parseErr != nil {
		return internal(fmt.Errorf("size of a file: %w", parseErr))
	}
	data := t.out.stdout.data
	first := r.first
	if first < 0 {
		first = max(0, size+first)
	}
	if len(data) > 0 {
		size = max(size, first+int64(len(data))) // a link may lead to a file of /proc, which tells none
	}
	header := &c.ctx.Response.Header
	header.SetContentType("application/octet-stream")
	header.Set(fasthttp.HeaderXContentTypeOptions, "nosniff") // it is foreign: a browser shall not show it as a page of ours
	header.Set(fasthttp.HeaderAcceptRanges, "bytes")
	switch {
	case ranged && len(data) == 0:
		header.Set(fasthttp.HeaderContentRange, fmt.Sprintf("bytes */%d", size))
		c.ctx.SetStatusCode(fasthttp.StatusRequestedRangeNotSatisfiable)
	case ranged:
		header.Set(fasthttp.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", first, first+int64(len(data))-1, size))
		c.ctx.SetStatusCode(fasthttp.StatusPartialContent)
	}
	s.unread.replyRaw(c, data)
	return nil
}

// byteRange is a part of a file: count bytes from first on, which is from the end where it is below 0. The file may end earlier.
type byteRange struct{ first, count int64 }

// parseRange reads a Range of one part. One of several parts, like one that is not understood, is ignored, as RFC 9110 section 14.2 allows: the
// answer is then all of the file.
func parseRange(header string) (r byteRange, ranged bool) {
	all := byteRange{count: math.MaxInt64}
	spec, ok := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.ContainsAny(from+to, "+-") { // signs that ParseInt would take
		return all, false
	}
	if from == "" { // the last bytes
		n, err := strconv.ParseInt(to, 10, 64)
		if err != nil {
			return all, false
		}
		return byteRange{first: -n, count: n}, true
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil {
		return all, false
	}
	if to == "" {
		return byteRange{first, math.MaxInt64}, true
	}
	last, err := strconv.ParseInt(to, 10, 64)
	if err != nil || last < first {
		return all, false
	}
	return byteRange{first, min(last, math.MaxInt64-1) - first + 1}, true
}

// checkPath is for files that are there: a program may have made deeper folders than a request may ask for.
func checkPath(path string) *apiError {
	if err := wire.ValidatePath(path); err != nil {
		return invalidField("path", "%v", err)
	}
	return nil
}

func (s *server) putFile(c *call, name, path string) *apiError {
	if err := wire.ValidateFileName(path); err != nil {
		return invalidField("path", "%v", err)
	}
	body, release, err := s.readRawBody(c)
	if err != nil {
		return err
	}
	defer release()
	t := &tool{argv: []string{"/usr/bin/true"}, files: []requestFile{{name: path, content: body}}, most: toolWords, grows: true}
	if err := s.withTool(c, name, t); err != nil {
		return err
	}
	c.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

const deleteFileScript = `[ -e "$1" ] || [ -L "$1" ] || exit 44
exec rm -rf -- "$1"`

func (s *server) deleteFile(c *call, name, path string) *apiError {
	if err := checkPath(path); err != nil {
		return err
	}
	t := &tool{argv: []string{"/bin/sh", "-c", deleteFileScript, "sh", "./" + path}, most: toolWords}
	if err := s.withTool(c, name, t); err != nil {
		return err
	}
	c.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

func (s *server) archive(c *call, name, _ string) *apiError {
	t := &tool{argv: archiveTar, most: s.mostOutput(), advice: "delete what is not needed, or get the files one by one"}
	if err := s.withTool(c, name, t); err != nil {
		return err
	}
	c.ctx.Response.Header.SetContentType("application/x-tar")
	s.unread.replyRaw(c, t.out.stdout.data)
	return nil
}
