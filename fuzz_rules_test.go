package runtools

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mostCorpus is how many inputs of a target are kept: each is run by every `go test`.
const mostCorpus = 40

// The list of decoders in docs/theory.md names every fuzz target, and none that is not there.
func TestEveryDecoderIsListed(t *testing.T) {
	text, err := os.ReadFile("docs/theory.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("\\| `([a-z/]+)` `(Fuzz\\w+)` \\|").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1]+" "+m[2])
	}
	there := fuzzTargets(t)
	for _, name := range there {
		if !slices.Contains(listed, name) {
			t.Errorf("docs/theory.md does not list %s: what bytes it reads, whose, and what must hold", name)
		}
	}
	for _, name := range listed {
		if !slices.Contains(there, name) {
			t.Errorf("docs/theory.md lists %s, which is not there", name)
		}
	}
}

// fuzzTargets are all that there are, as "folder FuzzName". Each has a corpus.
func fuzzTargets(t *testing.T) (there []string) {
	t.Helper()
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	for _, file := range tracked(t, "*_test.go") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range target.FindAllSubmatch(data, -1) {
			name := string(m[1])
			there = append(there, path.Dir(file)+" "+name)
			kept, _ := os.ReadDir(path.Join(path.Dir(file), "testdata/fuzz", name))
			if len(kept) == 0 || len(kept) > mostCorpus {
				t.Errorf("%s has a corpus of %d inputs, want 1 to %d: the smallest of $(go env GOCACHE)/fuzz after scripts/fuzz 10m %s", name, len(kept), mostCorpus, name)
			}
		}
	}
	return there
}

// decoding is what reads bytes into values, of the libraries and of ours: where it stands, somebody's bytes are read.
var decoding = regexp.MustCompile(`jsonReader\{|json\.(Unmarshal|NewDecoder|Valid)\(|toml\.NewDecoder\(|binary\.(Uvarint|Varint|Read|Decode)\(|(Endian|\be)\.Uint(16|32|64)\(|s2\.\w*(Decode|Reader)\w*\(|` +
	`Encoding\.Decode\w*\(|hex\.Decode\w*\(|url\.Parse\w*\(|netip\.Parse\w*\(|(xml|gob|csv|tar|zip|gzip|flate|zlib)\.New\w*Reader\(|unix\.ParseSocketControlMessage\(`)

// decoders are the files that read bytes so: the fuzz target that they are read under, or why none is needed.
var decoders = map[string]string{
	"apid/config.go":            "the operator's file, by a library",
	"apid/fork.go":              "apid FuzzDecodeRequest", // the same reader, for one number
	"apid/journal.go":           "apid's own lines, in a folder that nobody else can write to",
	"apid/keys.go":              "apid FuzzParseKey",
	"apid/mcp.go":               "three words of a message, and an answer that the SDK has just written, by encoding/json; the SDK reads the rest",
	"apid/message.go":           "apid FuzzMessages",
	"apid/pack.go":              "apid FuzzStored",
	"apid/piston.go":            "apid FuzzPiston",
	"apid/pistonsocket.go":      "apid FuzzMessages",
	"apid/request.go":           "apid FuzzDecodeRequest",
	"apid/webhook.go":           "apid FuzzWebhook",
	"apid/webhookdial.go":       "apid FuzzPublicAddress",
	"apid/workspace.go":         "apid FuzzStored",
	"mcptools/files.go":         "mcptools FuzzTools",
	"pkg/client/client.go":      "whole answers of the caller's own server, by encoding/json",
	"pkg/client/execution.go":   "likewise",
	"pkg/client/interactive.go": "likewise, a message",
	"pkg/client/shapes.go":      "pkg/client FuzzEvents",
	"pkg/client/stream.go":      "pkg/client FuzzEvents",
	"pkg/jail/control.go":       "pkg/jail FuzzReply",
	"pkg/jail/plan.go":          "pkg/jail FuzzReply",
	"pkg/jail/renew.go":         "one bit of a word of four bytes",
	"pkg/lang/load.go":          "pkg/lang FuzzParse",
	"pkg/seccomp/profile.go":    "pkg/seccomp FuzzParse",
	"pkg/seccomp/program.go":    "programs that libseccomp has just made",
	"pkg/seccomp/use.go":        "the operator's records, by encoding/json, in commands alone",
	"pkg/wire/conn.go":          "pkg/wire FuzzPacket",
	"sandboxd/config.go":        "the operator's file, by a library",
	"sandboxd/template.go":      "sandboxd FuzzParseTemplates",
}

// Nobody's bytes are read by a decoder that is not fuzzed, unless there is a reason. What takes texts apart by hand it does not see.
func TestEveryDecoderIsFuzzed(t *testing.T) {
	there := fuzzTargets(t)
	var found []string
	for _, file := range tracked(t, "apid/*.go", "mcptools/*.go", "pkg/*.go", "sandboxd/*.go") {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "apid/e2e/") || strings.HasPrefix(file, "apid/conform/") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !decoding.Match(data) {
			continue
		}
		found = append(found, file)
		how := decoders[file]
		if how == "" {
			t.Errorf("%s decodes bytes by %q: whose? Give it a fuzz target (docs/theory.md), or say here why it needs none", file, decoding.Find(data))
		} else if strings.Contains(how, " Fuzz") && !slices.Contains(there, how) {
			t.Errorf("%s: there is no target %s", file, how)
		}
	}
	for file := range decoders {
		if !slices.Contains(found, file) {
			t.Errorf("%s decodes nothing any more", file)
		}
	}
}
