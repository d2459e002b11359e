package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An attack is one file of testdata/attack: what a probe is made of (probe.go), and these sections, which the daemon does not know:
//
//	main.c, main.py, main.sh   the program, in a language of the extension
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
//	want peer, want next       what comes of those programs, as the section want says it of main
//	want lent, want lent peer  what comes of it in the jails that other languages lend it, where that differs, as their profiles do
//	                           Where it holds, violations does not
//	open                       instead of what `want` says this is what happens today: a hole that is known. When it is closed the test
//	                           fails until the section is removed. "open peer", "open next" likewise
//
// Programs judge for themselves what they could do and say it in words that are the same on every run and every kernel. attack.h, below,
// is beside each C program. PLANTED in a program or file is the path of a file of the host that everybody may read; no answer may hold what is in it.
// On the sockets PLANTED.stream and PLANTED.packet, which everybody may connect to, likewise on @PLANTED.stream and @PLANTED.packet, on the port PLANTED_PORT of
// the host's 127.0.0.1 and ::1, and on SANDBOXD_SOCKET, somebody listens.
type attack struct {
	probe
	programs map[string]program // by role: "main", "peer", "next"
	wants    map[string]string
	open     map[string]string
	alone    bool
	full     bool // section processes

	files   map[string]string // by name
	env     []string
	compile string // "": whatever there is
	parked  bool
	lent    []string
	inLent  map[string]string // want lent
	made    string            // by the program "output": the language of what runs then
}

type program struct{ language, source string }

// languages are by the extensions of sections. Beside them is "sh", the shell of any image: main.dash.
var languages = map[string]string{
	"c": "c", "cpp": "cpp", "cs": "csharp", "go": "go", "java": "java", "js": "javascript", "py": "python", "rb": "ruby", "rs": "rust",
	"sh": "bash", "ts": "typescript",
}

func parseAttack(path string, data []byte) (*attack, error) {
	p, rest, err := readSections(path, data)
	if err != nil {
		return nil, err
	}
	a := &attack{probe: p, programs: map[string]program{}, wants: map[string]string{}, open: map[string]string{}, files: map[string]string{}, inLent: map[string]string{}}
	if p.source != "" {
		a.programs["main"] = program{"sh", p.source}
	}
	if p.want != "" {
		a.wants["main"] = p.want
	}
	for _, f := range rest {
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
			a.wants[role] = data
		case kind == "open":
			a.open[role] = data
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

// titleForm is the first line of an attack: where it comes from, if that was published, and else the class of such attacks.
var titleForm = regexp.MustCompile(`^((CVE-\d{4}-\d{4,}|[\w.-]+/[\w.-]+#\d+)( \(.+\))?|class: .+)$`)

// check says what is missing.
func (a *attack) check(path string) error {
	if !titleForm.MatchString(a.title) {
		return fmt.Errorf("%s: %q: the first line is CVE-..., owner/name#number, either with words in brackets, or class: ...", path, a.title)
	}
	wants := 0
	for role, p := range a.programs {
		compiles := role != "main" || a.compile == "" || strings.HasPrefix(a.compile, "code 0\n")
		if p.language == "" || compiles == (a.wants[role] == "") || !slices.Contains([]string{"main", "output", "peer", "next"}, role) {
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
		if a.wants[role] == "" {
			return fmt.Errorf("%s: want lent %s: no program of that role runs", path, role)
		}
	}
	if len(a.wants) != wants {
		return fmt.Errorf("%s: want as many programs as expectations", path)
	}
	return nil
}

// The daemon takes what is a probe, and no more: a section that it passed over could be what the attack is about.
func TestProbes(t *testing.T) {
	const whole = "class: x\nIt holds.\n-- main.dash --\ntrue\n-- want --\ncode 0\n"
	for text, want := range map[string]string{
		whole: "",
		whole + "-- limits --\nwall 5\ncpu 6\nmemory 7\n-- violations --\nunshare(): 1\n": "",
		whole + "-- peer.c --\n":                          `section "peer.c" is none of a probe`,
		whole + "-- main.c --\n":                          `section "main.c" is none of a probe`,
		whole + "-- open --\n":                            `section "open" is none of a probe`,
		whole + "-- limits --\nwall x\n":                  "limits: ",
		whole + "-- limits --\npids 1\n":                  `limits: unknown "pids"`,
		"class: x\nIt holds.\n":                           "main.dash and want",
		"class: x\n-- main.dash --\ntrue\n":               "a sentence about it come first",
		"class: x\nIt holds.\n-- main.dash --\ntrue\n":    "main.dash and want",
		"class: x\nIt holds.\n-- want --\ncode 0\ntrue\n": "main.dash and want",
	} {
		p, err := parseProbe("x.txtar", []byte(text))
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", text, err, want)
		case err == nil && (p.source != "true\n" || p.want != "code 0\n" || p.about != "It holds." || p.limits == defaultLimits != (text == whole)):
			t.Errorf("%q: got %+v", text, p)
		}
	}
}
