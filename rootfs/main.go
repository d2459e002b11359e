// Command mkrootfs builds the read-only root that every jail runs in: one Debian (or Ubuntu) tree with the languages of rootfs/<folder>/.
//
// # Theory of operation
//
// What goes in is data: base/<name>.json says which distribution, <folder>/packages.json what a language needs. The builder knows no
// language by name. A build goes through these stages, each with its own cache below <state>/cache, named by the hash of what it is
// made from, so that an interrupted or repeated run continues where it can:
//
//	resolve   which source of each language is tried first; all of it hashed into one digest. Same digest as `current`: done.
//	fetch     npm packages and archives, each checked against its pinned hash        cache/downloads
//	base      mmdebstrap with the packages of all languages, slimmed and sealed     cache/base/<hash>
//	layers    per language: files, archives and steps.sh, on an overlay of the base cache/layers/<hash>
//	assemble  base and layers hard-linked into images/<digest>.tmp, beside it the digests that their files had when they were sealed
//	check     sealed? do the samples compile and run?
//	swap      rename images/<digest>.tmp, then `current`
//
// Steps and samples run in a box: private mount, pid, net, ipc and uts namespaces, chrooted (inside.go). A language that cannot be had
// is left out with one line that tells the remedy; a stage that breaks leaves `current` as it was.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const usage = `usage: mkrootfs build|check|resolve [flags]

  build    build the image, check it, make it current; does nothing when it is current already
  check    run every sample of every language in the current image
  resolve  print what would be installed; needs no network and no root

`

func main() {
	if len(os.Args) > 2 && os.Args[1] == insideCommand {
		os.Exit(insideMain(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "mkrootfs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("no command given")
	}
	command := args[0]
	set, err := parseSettings(command, args[1:])
	if err != nil {
		return err
	}
	switch command {
	case "build":
		return build(ctx, set)
	case "check":
		return checkCurrent(ctx, set)
	case "resolve":
		return resolve(set, os.Stdout)
	}
	fmt.Fprint(os.Stderr, usage)
	return fmt.Errorf("unknown command %q", command)
}

// settings are what the operator decides; everything else is in the manifests.
type settings struct {
	Languages      string // folder of the language folders
	State          string
	Base           string
	Mirror         string // of the base's main archive; empty: as the host's apt
	SecurityMirror string
	Sources        map[string]archiveFrom // folder -> an archive to try first
	Force          bool                   // new base from the archive as it is today
	Only           []string               // check: these folders
	Verbose        bool
	Jobs           int
}

func parseSettings(command string, args []string) (settings, error) {
	set := settings{State: os.Getenv("RUNTOOLS_STATE"), Sources: map[string]archiveFrom{}}
	if set.State == "" {
		set.State = "/var/lib/runtools"
	}
	var only string
	fs := flag.NewFlagSet("mkrootfs "+command, flag.ContinueOnError)
	fs.StringVar(&set.Languages, "languages", "./rootfs", "folder that holds the language folders")
	fs.StringVar(&set.State, "state", set.State, "state directory")
	fs.StringVar(&set.Base, "base", "trixie", "distribution: a file of <languages>/base")
	fs.StringVar(&set.Mirror, "mirror", "", "URL of the main archive (default: the one the host's apt uses)")
	fs.StringVar(&set.SecurityMirror, "security-mirror", "", "URL of the security archive (default: the one the host's apt uses)")
	fs.BoolVar(&set.Force, "force", false, "build: take a new base from the archive though nothing here has changed")
	fs.StringVar(&only, "only", "", "check: only these folders, separated by commas")
	fs.BoolVar(&set.Verbose, "v", false, "check: one line per sample")
	fs.IntVar(&set.Jobs, "jobs", 2, "layers and samples done at the same time")
	fs.Func("source", "folder=PATH-OR-URL,sha256=HEX (or sha512=HEX): an archive to try first; may be repeated", func(s string) error {
		return addSource(set.Sources, s)
	})
	if err := fs.Parse(args); err != nil {
		return set, err
	}
	if fs.NArg() > 0 {
		return set, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if only != "" {
		set.Only = strings.Split(only, ",")
	}
	if set.Jobs < 1 {
		return set, fmt.Errorf("-jobs %d: must be at least 1", set.Jobs)
	}
	var err error
	if set.Languages, err = filepath.Abs(set.Languages); err != nil {
		return set, err
	}
	set.State, err = filepath.Abs(set.State)
	return set, err
}

func addSource(sources map[string]archiveFrom, s string) error {
	folder, rest, ok := strings.Cut(s, "=")
	i := strings.LastIndex(rest, ",")
	if !ok || i < 0 {
		return fmt.Errorf("%q: want folder=PATH-OR-URL,sha256=HEX", s)
	}
	a := archiveFrom{From: rest[:i]}
	switch kind, hex, _ := strings.Cut(rest[i+1:], "="); kind {
	case "sha256":
		a.SHA256 = hex
	case "sha512":
		a.SHA512 = hex
	default:
		return fmt.Errorf("%q: want ,sha256=HEX or ,sha512=HEX at the end", s)
	}
	if err := a.validate(); err != nil {
		return err
	}
	sources[folder] = a
	return nil
}
