package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// An attack is one file of testdata/attack. Its first line is the CVE, the issue or the class that it stands for, then follow a
// sentence or two, then these sections:
//
//	main.c, main.py, main.sh   the program, in a language of the extension; main.dash is for the /bin/sh of any image
//	peer.c, peer.py, peer.sh   a second program in another jail: starts when the first has written "ready\n", which then lives until it
//	                           is done (its stdin ends)
//	next.c, next.py, next.sh   a program in another jail after the first has ended
//	output.sh                  instead of main a program in the place of a compiler: what it leaves in /build is run as that of language C,
//	                           or of the language that "output.sh java" names
//	file NAME                  one more file in the workspace of main, also while that is compiled
//	env                        "NAME=VALUE" a line: what the request of main adds to its environment
//	compile                    what the compiler makes of main. First line: as that of want; each other one is a part of a line of its messages, and
//	                           if there is none it says nothing. With a limit, which is one of the section limits, it may say what it likes. Without "code 0" nothing runs. Main is compiled as its lang.json says then;
//	                           programs in C without this section have the options that the attack leaves them
//	parked                     why a runtime must have been loaded before: made in no other jail
//	lent LANGUAGE...           why what is compiled is lent only the jails of these languages, whose runtime executes it: see findLenders. "lent none": of none;
//	                           "lent all": in turn those of each language that has a runtime, for what such a runtime could leave to the program
//	alone                      why nothing else may run beside it
//	processes                  why main must have had as many processes at one time as its template allows, by the kernel's count, and no more. As long as the
//	                           clock ends it before that it gets more time
//	limits                     "wall 500", "cpu 500" in ms, "memory 64" in MiB: other than defaultLimits
//	want                       first line: "code N", "signal NAME", "limit NAME" or "error CODE"; then stdout, exactly. With a limit stdout
//	                           is what was written until then
//	want peer, want next       likewise
//	want lent, want lent peer  what comes of it in the jails that other languages lend it, where that differs, as their profiles do
//	violations                 what the result of main names: "syscall(args): count" a line. Not where want lent holds
//	open                       instead of what `want` says this is what happens today: a hole that is known. When it is closed the test
//	                           fails until the section is removed. "open peer", "open next" likewise
//
// Programs judge for themselves what they could do and say it in words that are the same on every run and every kernel. attack.h, below,
// is beside each C program. PLANTED in a program or file is the path of a file of the host that everybody may read; no answer may hold what is in it.
// On the sockets PLANTED.stream and PLANTED.packet, which everybody may connect to, likewise on @PLANTED.stream and @PLANTED.packet, on the port PLANTED_PORT of
// the host's 127.0.0.1 and ::1, and on SANDBOXD_SOCKET, somebody listens.
type attack struct {
	name     string
	title    string
	about    string             // what holds, on one line
	programs map[string]program // by role: "main", "peer", "next"
	want     map[string]string
	open     map[string]string
	limits   wire.Limits
	alone    bool
	full     bool // section processes

	files   map[string]string // by name
	env     []string
	compile string // "": whatever there is
	parked  bool
	lent    []string
	inLent  map[string]string // want lent
	made    string            // by the program "output": the language of what runs then

	violations *string // nil: whatever there is
}

type program struct{ language, source string }

// languages are by the extensions of sections. "sh" is the shell of any image.
var languages = map[string]string{
	"c": "c", "cpp": "cpp", "cs": "csharp", "dash": "sh", "go": "go", "java": "java", "js": "javascript", "py": "python", "rb": "ruby", "rs": "rust",
	"sh": "bash", "ts": "typescript",
}

// defaultLimits bound an attack that says nothing else; memory is small, so that those that go for it leave the machine alone.
var defaultLimits = wire.Limits{WallMS: 20_000, CPUMS: 10_000, MemoryBytes: 128 << 20}

// outputCap is where the runner asks for a kill, as apid does, bytes.
const outputCap = 64 << 10

func parseAttack(path string, data []byte) (*attack, error) {
	archive := txtar.Parse(data)
	title, about, _ := strings.Cut(string(archive.Comment), "\n")
	a := &attack{
		name: strings.TrimSuffix(filepath.Base(path), ".txtar"), title: title, limits: defaultLimits,
		about:    strings.Join(strings.Fields(about), " "),
		programs: map[string]program{}, want: map[string]string{}, open: map[string]string{}, files: map[string]string{}, inLent: map[string]string{},
	}
	if title == "" || strings.TrimSpace(about) == "" {
		return nil, fmt.Errorf("%s: a line that names the attack and a sentence about it come first", path)
	}
	for _, f := range archive.Files {
		kind, role, _ := strings.Cut(f.Name, " ")
		if role == "" {
			role = "main"
		}
		data, err := string(f.Data), error(nil)
		switch {
		case kind == "want" && (role == "lent" || strings.HasPrefix(role, "lent ")):
			_, role, _ = strings.Cut(role, " ")
			a.inLent[cmp.Or(role, "main")] = data
		case kind == "want":
			a.want[role] = data
		case kind == "open":
			a.open[role] = data
		case kind == "violations":
			a.violations = &data
		case kind == "alone":
			a.alone = true
		case kind == "processes":
			a.full = true
		case kind == "parked":
			a.parked = true
		case kind == "lent":
			a.lent = strings.Fields(role)
		case kind == "file":
			a.files[role] = data
		case kind == "env":
			a.env = strings.Split(strings.TrimSpace(data), "\n")
		case kind == "compile":
			a.compile = data
		case kind == "limits":
			err = a.setLimits(data)
		case strings.Contains(kind, "."):
			name, extension, _ := strings.Cut(kind, ".")
			a.programs[name] = program{languages[extension], data}
			if name == "output" {
				a.made = "c"
				if role != "main" { // the section names a language
					a.made = role
				}
			}
		default:
			err = fmt.Errorf("unknown section %q", f.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return a, a.check(path)
}

// check says what is missing.
func (a *attack) check(path string) error {
	wants := 0
	for role, p := range a.programs {
		compiles := role != "main" || a.compile == "" || strings.HasPrefix(a.compile, "code 0\n")
		if p.language == "" || compiles == (a.want[role] == "") || !slices.Contains([]string{"main", "output", "peer", "next"}, role) {
			return fmt.Errorf("%s: program %q needs a known language and, if it runs, a section want", path, role)
		}
		if compiles {
			wants++
		}
	}
	if _, made := a.programs["output"]; made {
		wants++ // what it makes runs as well
	} else if a.programs["main"].source == "" {
		return fmt.Errorf("%s: want main", path)
	}
	for role := range a.inLent {
		if a.want[role] == "" {
			return fmt.Errorf("%s: want lent %s: no program of that role runs", path, role)
		}
	}
	if len(a.want) != wants {
		return fmt.Errorf("%s: want as many programs as expectations", path)
	}
	return nil
}

func (a *attack) setLimits(text string) error {
	for line := range strings.Lines(text) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return fmt.Errorf("limits: %w", err)
		}
		switch name {
		case "wall":
			a.limits.WallMS = n
		case "cpu":
			a.limits.CPUMS = n
		case "memory":
			a.limits.MemoryBytes = n << 20
		default:
			return fmt.Errorf("limits: unknown %q", name)
		}
	}
	return nil
}

// outcome is the first line of an expectation.
func outcome(res *wire.Result, err error) string {
	var known *wire.Error
	switch {
	case err != nil && errors.As(err, &known):
		return "error " + string(known.Code) + "\n"
	case err != nil:
		return "error " + err.Error() + "\n"
	case res.Limit != "":
		return "limit " + res.Limit + "\n"
	case res.Signal != 0:
		return "signal " + unix.SignalName(unix.Signal(res.Signal)) + "\n"
	}
	return fmt.Sprintf("code %d\n", res.Code)
}
