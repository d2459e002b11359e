package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fillMirror makes a mirror as an operator does (scripts/packages), from the registries that this machine is set up for.
func fillMirror(t *testing.T, mirror, kind string, names ...string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(repository, "scripts/packages"), append([]string{mirror, kind}, names...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("packages %s: %v\n%s", kind, err, out)
	}
}

// addSix puts a wheel of six into the mirror, made from Debian's package of it: whoever tests this may not reach Python's index.
func addSix(t *testing.T, mirror string) {
	t.Helper()
	const from = "/usr/lib/python3/dist-packages"
	about, err := filepath.Glob(from + "/six-*info/[PM][KE][GT]*") // PKG-INFO, or METADATA
	if err != nil || len(about) == 0 {
		t.Fatal("six is not here: apt-get install python3-six", err)
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(filepath.Dir(about[0])), "six-"), "-")
	version = strings.TrimSuffix(strings.TrimSuffix(version, ".egg"), ".dist")
	info := "six-" + version + ".dist-info/"
	var wheel, record bytes.Buffer
	z := zip.NewWriter(&wheel)
	add := func(name string, content []byte) {
		sum := sha256.Sum256(content)
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(content))
		if f, err := z.Create(name); err != nil {
			t.Fatal(err)
		} else if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range map[string]string{"six.py": from + "/six.py", info + "METADATA": about[0]} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		add(name, content)
	}
	add(info+"WHEEL", []byte("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n"))
	add(info+"RECORD", []byte(record.String()+info+"RECORD,,\n"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(mirror, "python"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mirror, "python", "six-"+version+"-py2.py3-none-any.whl"), wheel.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// addGem makes a mirror's folder of Debian's gem rainbow. There need be no Ruby here, so a program of ours builds it and writes the index.
func addGem(t *testing.T, mirror string) {
	t.Helper()
	const from = "/usr/share/rubygems-integration/all"
	index, err := os.ReadFile(filepath.Join(repository, "scripts/packages-gems.rb"))
	if err != nil {
		t.Fatal(err)
	}
	files := []request{
		{"name": "main.sh", "content": `cd gem && sed -i 's/^end$/s.files = Dir["lib\/**\/*"]\nend/' x.gemspec && gem build x.gemspec >/dev/null && mkdir -p ../out/gems && ` +
			`mv *.gem ../out/gems && cd ../out && ruby ../index.rb && tar -c . | base64 -w0`},
		{"name": "index.rb", "content": string(index)},
	}
	for pattern, to := range map[string]string{"/specifications/rainbow-*.gemspec": "gem/x.gemspec", "/gems/rainbow-*/lib/*.rb": "gem/lib/", "/gems/rainbow-*/lib/rainbow/*.rb": "gem/lib/rainbow/"} {
		found, err := filepath.Glob(from + pattern)
		if err != nil || len(found) == 0 {
			t.Fatal("rainbow is not here: apt-get install ruby-rainbow", err)
		}
		for _, path := range found {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name := to
			if strings.HasSuffix(to, "/") {
				name += filepath.Base(path)
			}
			files = append(files, request{"name": name, "content": string(content)})
		}
	}
	folder := filepath.Join(mirror, "gems")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	untar := exec.Command("tar", "-x", "-C", folder)
	untar.Stdin = base64.NewDecoder(base64.StdEncoding, strings.NewReader(output(t, request{"language": "bash", "files": files})))
	if out, err := untar.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
}

// addFrom copies what Debian has in the form of a mirror already.
func addFrom(t *testing.T, debian, mirror string) {
	t.Helper()
	found, err := filepath.Glob(debian)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s is not here: make test-deps", debian)
	}
	if err := os.Mkdir(mirror, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-rL", found[0], mirror).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

const usesUUID = "package main\n\nimport (\n\t\"fmt\"\n\n\t\"github.com/google/uuid\"\n)\n\n" +
	"func main() { fmt.Println(uuid.MustParse(\"6BA7B810-9DAD-11D1-80B4-00C04FD430C8\")) }\n"

const uuidPrinted = "6ba7b810-9dad-11d1-80b4-00c04fd430c8\n"

// Packages of the operator's mirror are installed by the languages' own commands, without a network, and stay in their session.
func TestPackages(t *testing.T) {
	mirror := t.TempDir()
	addSix(t, mirror)
	addGem(t, mirror)
	addFrom(t, "/usr/share/cargo/registry/itoa-*", filepath.Join(mirror, "crates"))
	addFrom(t, "/usr/share/java/gson.jar", filepath.Join(mirror, "java"))
	addNuget(t, mirror)
	fillMirror(t, mirror, "npm", "is-odd@3.0.1", "@sindresorhus/is@4.6.0")
	fillMirror(t, mirror, "go", "github.com/google/uuid@v1.6.0")
	s, err := startStack("packages", "", fmt.Sprintf("packages = %q", mirror))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]struct{ install, language, code, want string }{
		"python": {"pip install six && pip show six", "python", "import six; print(six.moves.urllib.parse.quote('a b'), six.__file__.split('/')[3])", "a%20b .local\n"},
		"npm":    {"npm install is-odd @sindresorhus/is && npm ls --depth 9", "javascript", "console.log(require('is-odd')(3), require('@sindresorhus/is')(3))", "true number\n"},
		"npm -g": {"npm install -g is-odd", "bash", "ls .local/lib/node_modules", "is-odd\n"},
		"npm ci": {`echo '{"dependencies": {"is-odd": "^3.0.0"}}' >package.json && npm install --package-lock-only && ! grep 127.0.0.1 package-lock.json && npm ci`,
			"typescript", "const odd = require('is-odd'); console.log(odd(3) as boolean)", "true\n"},
		"go":     {"go mod init app && go get github.com/google/uuid", "go", usesUUID, uuidPrinted},
		"go run": {"go mod init app && go get github.com/google/uuid@v1.6.0 && cat >main.go <<'END'\n" + usesUUID + "END\ngo vet . && go build -o app .", "bash", "./app", uuidPrinted},
		"gem":    {"gem install rainbow", "ruby", "require 'rainbow'; p Rainbow('x').respond_to?(:red)", "true\n"},
		"bundle": {"printf \"source 'file:///packages/gems'\\ngem 'rainbow'\\n\" >Gemfile && bundle config set --local path gems && bundle install", "bash", "bundle exec ruby -e 'p Gem.loaded_specs.key?(\"rainbow\")'", "true\n"},
		"cargo": {"cargo init -q app && cd app && cargo add itoa && echo 'fn main() { println!(\"{}\", itoa::Buffer::new().format(7)); }' >src/main.rs && cargo build -q",
			"bash", "app/target/debug/app", "7\n"},
		"jar": {"python3 -m zipfile -e /packages/java/gson.jar .", "java",
			"import com.google.gson.Gson; class Main { public static void main(String[] a) { System.out.println(new Gson().toJson(a)); } }", "[]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := randomMarker()
			a := s.execute(t, s.key, program("bash", c.install).with(request{"session_id": id}))
			if wantStatus(t, a, "OK"); len(a.Run.Violations) > 0 {
				t.Errorf("denied calls: %s", a)
			}
			for range 2 {
				a = s.execute(t, s.key, program(c.language, c.code).with(request{"session_id": id}))
				if wantStdout(t, a, c.want); a.Compile != nil && a.Compile.Cached {
					t.Errorf("kept, though the session holds more than the request's files: %s", a)
				}
			}
			if a := s.execute(t, s.key, program(c.language, c.code)); a.Run.Stdout == c.want {
				t.Errorf("another session has it too: %s", a)
			}
		})
	}
	t.Run("go.mod", func(t *testing.T) {
		t.Parallel()
		// What a session does to its own copy of a module is seen by no other, nor by the cache of compiled programs.
		const nil16 = "00000000-0000-0000-0000-000000000000\n"
		q := request{"language": "go", "files": []request{
			{"name": "main.go", "content": usesUUID}, {"name": "go.mod", "content": "module app\n\ngo 1.22\n\nrequire github.com/google/uuid v1.6.0\n"},
		}}
		poisoned := randomMarker()
		wantStdout(t, s.execute(t, s.key, q.with(request{"session_id": poisoned})), uuidPrinted)
		wantStatus(t, s.execute(t, s.key, program("bash", `sed -i 's/^func MustParse.*/&\n\treturn UUID{}/' go/pkg/mod/github.com/google/uuid@*/uuid.go`).with(request{"session_id": poisoned})), "OK")
		for _, c := range []struct {
			more request
			want string
		}{{request{"session_id": poisoned}, nil16}, {nil, uuidPrinted}, {request{"ephemeral": true}, uuidPrinted}} {
			a := s.execute(t, s.key, q.with(c.more))
			wantStdout(t, a, c.want)
			wantCached(t, a, false) // for the compiler has put modules into the workspace
		}
	})
	t.Run("nuget", func(t *testing.T) {
		t.Parallel()
		t.Run("all", func(t *testing.T) { testNuget(t, s) }) // ends when its parallel parts have
		testNugetChanges(t, s, mirror)
	})
	t.Run("not there", func(t *testing.T) {
		t.Parallel()
		for command, want := range map[string]string{
			"pip install none-such": "No matching distribution found for none-such", "npm install none-such": "not in the mirror",
			"go mod init app 2>/dev/null; go get example.com/none/such": "/packages/go/example.com/none/such",
		} {
			if a := s.execute(t, s.key, program("bash", command)); a.Run.Code == nil || *a.Run.Code == 0 || !strings.Contains(a.Run.Stderr, want) {
				t.Errorf("%s: want %q: %s", command, want, a)
			}
		}
	})
}

// Without a mirror the same commands fail at once, in words.
func TestNoPackages(t *testing.T) {
	for command, want := range map[string]string{
		"pip install six": "No matching distribution found for six", "npm install is-odd": "no cached response is available",
		"go mod init app 2>/dev/null; go get github.com/google/uuid": "module lookup disabled",
		"ls -A /packages >&2; echo empty >&2; false":                 "empty",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			if a := execute(t, program("bash", command)); a.Run.Code == nil || *a.Run.Code == 0 || !strings.Contains(a.Run.Stderr, want) {
				t.Errorf("want %q: %s", want, a)
			}
		})
	}
}
