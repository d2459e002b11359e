package lang

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Home is the workspace's place in a jail: working directory and HOME.
const Home = "/home/user"

// BaseEnv is what every job starts from. The last part of PATH is where packages installed by a session put their commands: last, so
// that a workspace cannot put itself in front of the image.
var BaseEnv = map[string]string{
	"PATH":    "/usr/local/bin:/usr/bin:/bin:" + Home + "/.local/bin",
	"HOME":    Home,
	"USER":    "user",
	"LOGNAME": "user",
	"SHELL":   "/bin/bash",
	"LANG":    "C.UTF-8",
	"TMPDIR":  "/tmp",
}

// Inputs is what placeholders stand for.
type Inputs struct {
	Args   []string // the request's
	Files  []string // names of all files of the request, the entry first
	Memory int64    // limit of the stage, bytes
}

// placeholder finds what looks like one, so that a misspelt one does not reach a compiler.
var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// ExpandArgv makes the command line of a stage.
func (r *Runtime) ExpandArgv(stage *Stage, in Inputs) []string {
	argv := make([]string, 0, len(stage.Argv)+len(in.Args)+len(in.Files))
	var fill *strings.Replacer
	for _, word := range stage.Argv {
		switch {
		case word == "{args}":
			argv = append(argv, in.Args...)
		case word == "{sources}":
			argv = append(argv, r.sources(in.Files)...)
		case strings.IndexByte(word, '{') < 0:
			argv = append(argv, word)
		default:
			if fill == nil {
				fill = replacer(in)
			}
			argv = append(argv, fill.Replace(word))
		}
	}
	return argv
}

// ExpandEnv makes the environment of a stage, before anything that a session or a request adds.
func (r *Runtime) ExpandEnv(stage *Stage, in Inputs) map[string]string {
	env := maps.Clone(BaseEnv)
	for _, layer := range []map[string]string{r.Env, stage.Env} {
		for name, value := range layer {
			if strings.IndexByte(value, '{') >= 0 {
				value = replacer(in).Replace(value)
			}
			env[name] = value
		}
	}
	return env
}

// sources picks what {sources} stands for. The entry is taken whatever it is called: it is what the caller asked to have compiled.
func (r *Runtime) sources(files []string) []string {
	var words []string
	for i, name := range files {
		if i == 0 || slices.ContainsFunc(r.Extensions, func(ext string) bool { return strings.HasSuffix(name, ext) }) {
			words = append(words, word(name))
		}
	}
	return words
}

// word keeps a tool from taking a file name for an option or, as compilers do with @name, for a list of options.
func word(name string) string {
	if name[0] == '-' || name[0] == '@' {
		return "./" + name
	}
	return name
}

// replacer works in one pass: a file called "{memory}.py" stays what it is.
func replacer(in Inputs) *strings.Replacer {
	return strings.NewReplacer(
		"{main}", word(in.Files[0]),
		"{memory_mb}", strconv.FormatInt(in.Memory>>20, 10),
		"{memory}", strconv.FormatInt(in.Memory, 10),
	)
}

// checkWord says what is wrong with the placeholders of one word of argv.
func checkWord(w string) error {
	if w == "{args}" || w == "{sources}" {
		return nil
	}
	return checkValue(w)
}

// checkValue says what is wrong with the placeholders of a value in env.
func checkValue(v string) error {
	for _, p := range placeholder.FindAllString(v, -1) {
		switch p {
		case "{main}", "{memory}", "{memory_mb}":
		case "{args}", "{sources}":
			return fmt.Errorf("%s must be a word of argv by itself, not part of %q", p, v)
		default:
			return fmt.Errorf("unknown placeholder %s in %q", p, v)
		}
	}
	return nil
}
