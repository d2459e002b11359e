// Sandboxd runs jobs in jails. It is the one part of runtools that is root.
//
// # Theory of operation
//
//	apid --unixpacket--> server ---> job ---> pools ---> builder ---> jail, cgroup leaf, volume
//	                     (one goroutine a connection)     ^
//	                                          fillers ----+  (for each template one a CPU, for a compiler's half as many)
//
// A builder makes a jail in the order of builder.build: ids, cgroup leaf, namespaces, workspace, mounts and filter. A filler keeps
// some of each template ready. A job takes one, or builds one if there is none; attaches volumes; starts the program; waits; reports;
// and destroys the jail in the background. A jail runs one job; after that of a compiler, which runs no foreign code, it may run
// the program that it made (follow.go), or more sources of the same owner where compiler_jobs says so (kept.go).
//
// Volumes are tmpfs mounts: descriptors of ours (volume.go), in mount namespaces of their own (vault.go), or both. A session's workspace is one, a compile job's result is
// another. No path inside a volume is ever opened from here.
//
// # Privileges
//
// All Go code here runs as root with the host's namespaces, except the threads of the vaults and the one that makes network namespaces. The spawner, PID 1 of each jail and the runner
// are zygote.c (see pkg/jail). Bytes of users that pass through this process: file names, argv and env inside one packet, which
// pkg/wire validates and pkg/jail copies. File contents, input and output pass as descriptors only.
//
// # Start and end
//
// start (daemon.go) does what its phases say, in order, and on an error undoes those that were done. SIGTERM or SIGINT: no new jobs, running ones
// may end within `drain`, then everything is undone in reverse. SIGHUP: the seccomp profiles are read again (reload.go). After a crash the kernel ends every jail (their control sockets
// close), and the next start sweeps the cgroups. In both cases the sessions' workspaces stay, and the next start finds them (anchor.go).
package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"strings"

	"github.com/runtools/runtools/pkg/seccomp"
)

// The vaults and the maker of network namespaces change the namespaces of their threads for good. The main goroutine keeps the main
// thread from them, whose namespaces are what /proc shows of this process.
func init() { runtime.LockOSThread() }

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "sandboxd:", err)
		os.Exit(1)
	}
}

const usageText = `usage: sandboxd [flags]                        serve jobs
       sandboxd check [flags]                  say what this host lacks, if anything
       sandboxd selftest [flags]               attack the sandbox from inside: that of the sandboxd which serves, or one for the moment
       sandboxd top [-n COUNT] [flags]         show what the sandboxd that serves is doing, every second
       sandboxd forget [flags]                 drop the sessions' files that a sandboxd which has ended left for the next
       sandboxd seccomp check|diff|explain|minimise ...
                                               read profiles: sandboxd seccomp -h
       sandboxd seccomp record -o DIR [flags]  serve jobs of trusted programs, and write down which calls they make
       sandboxd seccomp shadow [flags]         ask the sandboxd that runs what the profiles on trial would deny
`

func run(args []string) error {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	if command == "seccomp" {
		if len(args) == 0 || args[0] != "record" && args[0] != "shadow" {
			return seccompCommand(args, os.Stdout)
		}
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("sandboxd", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usageText); flags.PrintDefaults() }
	path := flags.String("config", "", "configuration `file`; without it the defaults of sandboxd.example.toml hold")
	socket := flags.String("socket", "", "overrides socket")
	user := flags.String("user", "", "overrides user")
	image := flags.String("image", "", "overrides image")
	profiles := flags.String("profiles", "", "overrides profiles")
	packages := flags.String("packages", "", "overrides packages")
	parent := flags.String("cgroup-parent", "", "overrides cgroup_parent")
	use := flags.String("o", "", "seccomp record: the `folder` to write to; what is there is added to")
	enough := flags.Uint64("jobs", 300, "seccomp shadow: how many jobs of each language and stage a verdict needs")
	pictures := flags.Int("n", 0, "top: end after `COUNT` pictures; 0: on Ctrl-C, or after one where the output is no terminal")
	firstUID := flags.Uint("first-uid", 0, "overrides first_uid")
	if err := flags.Parse(args); err != nil {
		return err
	}
	read := func() (config, error) {
		c, err := loadConfig(*path)
		if err != nil {
			return c, err
		}
		for flag, key := range map[*string]*string{socket: &c.Socket, user: &c.User, image: &c.Image, profiles: &c.Profiles, packages: &c.Packages, parent: &c.CgroupParent} {
			if *flag != "" {
				*key = *flag
			}
		}
		if *firstUID != 0 {
			c.FirstUID = uint32(min(*firstUID, math.MaxUint32))
		}
		return c, c.validate()
	}
	c, err := read()
	if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: run sandboxd -h", flags.Arg(0))
	}
	switch command {
	case "check":
		if problems := checkHost(&c); len(problems) > 0 {
			return errHost(problems)
		}
		fmt.Println("sandboxd: this host has everything")
		for _, advice := range adviseHost(&c) {
			fmt.Println("but " + advice)
		}
		return nil
	case "forget":
		return forget(&c)
	case "top":
		return top(&c, os.Stdout, *pictures)
	case "selftest":
		return selftestCommand(&c, os.Stdout)
	case "shadow":
		return seccompShadow(c.Socket, max(*enough, fewestJobs), os.Stdout)
	case "record":
		if info, err := os.Stat(*use); err != nil || !info.IsDir() {
			return errors.New("seccomp record: -o must name a folder that is there: make it first")
		}
		c.recorder = &recorder{dir: *use, uses: map[string]*seccomp.Use{}}
		return errors.Join(serve(&c, read, slog.New(slog.NewTextHandler(os.Stderr, nil))), c.recorder.write())
	case "serve":
		return serve(&c, read, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	return fmt.Errorf("unknown command %q: run sandboxd -h", command)
}
