package seccomp

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Grant is one way in which a profile allows a call.
type Grant struct {
	When string // "" always; else the conditions on its arguments: "arg1&0xffffffff == 0x5401", and "at most 100 in a job"
	Why  string
}

// Grants returns what a profile allows, by name.
func (p *Profile) Grants() map[string][]Grant {
	grants := map[string][]Grant{}
	for i := range p.Syscalls {
		r := &p.Syscalls[i]
		if r.Action != "SCMP_ACT_ALLOW" || !r.applies() {
			continue
		}
		why := r.Why
		if why == "" {
			why = r.Comment
		}
		for _, name := range r.Names {
			grants[name] = append(grants[name], Grant{When: r.when(), Why: why})
		}
	}
	return grants
}

var opText = map[string]string{"SCMP_CMP_NE": "!=", "SCMP_CMP_EQ": "==", "SCMP_CMP_LT": "<", "SCMP_CMP_LE": "<=", "SCMP_CMP_GT": ">", "SCMP_CMP_GE": ">="}

func (r *Rule) when() string {
	var words []string
	for _, a := range r.Args {
		if a.Op == maskedEqual {
			words = append(words, fmt.Sprintf("arg%d&%#x == %#x", a.Index, a.Value, a.ValueTwo))
		} else {
			words = append(words, fmt.Sprintf("arg%d %s %#x", a.Index, opText[a.Op], a.Value))
		}
	}
	if r.AtMost > 0 {
		words = append(words, fmt.Sprintf("at most %d in a job", r.AtMost))
	}
	return strings.Join(words, " and ")
}

// Difference is a call that one profile allows and another does not, or not in this way.
type Difference struct {
	Syscall string
	Grant
}

// Beyond lists what p allows that other does not, by name. Conditions are compared as they are written.
func (p *Profile) Beyond(other *Profile) (list []Difference) {
	mine, others := p.Grants(), other.Grants()
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		always := slices.ContainsFunc(others[name], func(g Grant) bool { return g.When == "" })
		for _, g := range mine[name] {
			if !always && !slices.ContainsFunc(others[name], func(o Grant) bool { return o.When == g.When }) {
				list = append(list, Difference{name, g})
			}
		}
	}
	return list
}

// runnersCall is what the process that becomes the program needs itself, under its filter. It is never recorded.
const runnersCall = "sendmsg"

// Minimise returns a profile that allows what p allows and the records have: rules without a call that was seen are left out, and the
// reason of each that stays says who needs which of its calls. Denials stay as they are.
func (p *Profile) Minimise(uses []*Use) *Profile {
	small := *p
	small.Syscalls = nil
	for _, r := range p.Syscalls {
		if r.Action != "SCMP_ACT_ALLOW" {
			small.Syscalls = append(small.Syscalls, r)
			continue
		}
		var needs []string
		kept := r
		kept.Names = nil
		for _, name := range r.Names {
			users := Users(uses, name)
			if name == runnersCall {
				users = []string{"every jail"}
			}
			if len(users) > 0 {
				kept.Names = append(kept.Names, name)
				needs = append(needs, name+": "+strings.Join(users, ", "))
			}
		}
		if len(kept.Names) == 0 {
			continue
		}
		if !p.foreign() {
			kept.Why = r.Why + ". Needed: " + strings.Join(needs, "; ")
		}
		small.Syscalls = append(small.Syscalls, kept)
	}
	return &small
}

// Users returns the languages that were seen to use a call with success, sorted.
func Users(uses []*Use, name string) (languages []string) {
	for _, u := range uses {
		if c := u.Calls[name]; c.Count > c.Denied {
			languages = append(languages, u.Language)
		}
	}
	slices.Sort(languages)
	return languages
}

// Text is a rule in one line of words.
func (r *Rule) Text() string {
	text := r.actionText()
	if r.Expected {
		text += ", expected"
	}
	if when := r.when(); when != "" {
		text += " when " + when
	}
	if r.line > 0 {
		text = fmt.Sprintf("line %d: %s", r.line, text)
	}
	if r.Why != "" {
		text += ": " + r.Why
	}
	return text
}

func (r *Rule) actionText() string {
	switch {
	case r.Action == "SCMP_ACT_ALLOW":
		return "allowed"
	case r.Action == "SCMP_ACT_ERRNO" && r.ErrnoRet != nil:
		return "denied with " + errnoText(*r.ErrnoRet)
	}
	return "kills the process"
}

// DefaultText says what becomes of a call that no rule names.
func (p *Profile) DefaultText() string {
	return (&Rule{Action: p.DefaultAction, ErrnoRet: p.DefaultErrnoRet}).actionText()
}

func errnoText(errno uint) string {
	if errno == uint(unix.EOPNOTSUPP) {
		return "EOPNOTSUPP" // which has two names
	}
	if name := unix.ErrnoName(unix.Errno(errno)); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", errno)
}

// JSON is a file that Parse reads, a rule in two lines.
func (p *Profile) JSON() string {
	head := *p
	head.Syscalls = nil
	text, _ := json.MarshalIndent(head, "", "  ") // of strings and numbers: cannot fail
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(string(text), "null\n}"))
	b.WriteString("[\n")
	for i, r := range p.Syscalls {
		if i > 0 {
			b.WriteString(",\n")
		}
		line, _ := json.Marshal(r)
		b.WriteString("    " + string(line))
	}
	b.WriteString("\n  ]\n}\n")
	return b.String()
}
