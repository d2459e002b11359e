package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runtools/runtools/pkg/client"
)

// executeFlags are the flags of `runtools execute`, as given. bench and test have some of them, and the rest at zero.
type executeFlags struct {
	lang    string
	version string
	code    string
	files   []string
	stdin   string
	args    []string
	env     []string

	session   string
	ephemeral bool
	stream    bool

	interactive   bool
	async         bool
	webhook       string
	webhookSecret string

	artifacts    []string
	artifactsDir string
	repeat       int

	timeout, compileTimeout millis
	cpuTime, compileCPUTime millis
	memory, compileMemory   byteSize
	outputLimit             byteSize

	form outputForm
}

const executeExamples = `  runtools execute --lang python --code 'print(42)'
  runtools execute --file script.py -- first second
  runtools execute --file main.py --file utils.py
  runtools execute --lang python --file - < script.py
  runtools execute --lang python --code 'print(input())' --stdin hello
  sort names.txt | runtools execute --file count.rb --stdin -
  runtools execute --lang bash --code 'export A=1' --session abc-123
  runtools execute --interactive --file game.py
  id=$(runtools execute --async --file train.py); runtools execution wait $id`

func (a *app) executeCommand() *cobra.Command {
	f := new(executeFlags)
	var watch bool
	cmd := &cobra.Command{
		Use:   "execute (--code CODE | --file FILE...) [-- ARG...]",
		Short: "Run a program in a sandbox",
		Long: `Run a program in a sandbox. Its output goes to stdout and stderr byte for byte.

Exit status: the program's own, or 128+n when it died of signal n; 1 compilation failed,
124 time limit, 137 memory limit, 153 output limit, 159 forbidden system call,
125 the program was not run (see the message), 130 interrupted.`,
		Example: executeExamples,
		Args:    argsAfterDash,
		RunE: func(cmd *cobra.Command, args []string) error {
			if watch {
				return a.watch(cmd, f, args)
			}
			return a.execute(cmd, f, args)
		},
	}
	f.define(cmd.Flags())
	cmd.Flags().BoolVar(&watch, "watch", false, "run again whenever a FILE changes, until Ctrl-C")
	_ = cmd.RegisterFlagCompletionFunc("lang", a.completeLanguage)
	cmd.AddCommand(a.runtimesCommand())
	return cmd
}

// define makes the flags of execute, the others' among them.
func (f *executeFlags) define(flags *pflag.FlagSet) {
	f.defineProgram(flags)
	f.defineStdin(flags)
	flags.StringVarP(&f.session, "session", "s", "", "session `ID` to use, made when new: its files and environment persist")
	flags.BoolVar(&f.ephemeral, "ephemeral", false, "keep no session")
	flags.BoolVarP(&f.interactive, "interactive", "i", false, "talk to the program: it gets runtools' input as it comes and, at a terminal, one of its own")
	flags.BoolVar(&f.stream, "stream", false, "show output while the program runs")
	flags.StringArrayVar(&f.artifacts, "artifact", nil, "`PATTERN` of files to get back when the program has ended, repeatable: *.png, 'out/**'")
	flags.BoolVar(&f.async, "async", false, "print the id of an execution and do not wait: runtools execution wait ID does")
	flags.StringVar(&f.webhook, "webhook", "", "with --async: `URL` where the server sends the result, signed, if its operator allows the host")
	flags.StringVar(&f.webhookSecret, "webhook-secret", "", "`SECRET` that signs it, whsec_... (default $"+envWebhookSecret+", which other users cannot see in ps)")
	flags.IntVar(&f.repeat, "repeat", 0, "run the program `N` times and say on stderr how long it takes; nothing is kept")
	f.defineLimits(flags)
	f.defineResult(flags)
}

// defineResult makes the flags that say how the result of one program is shown.
func (f *executeFlags) defineResult(flags *pflag.FlagSet) {
	flags.StringVar(&f.artifactsDir, "artifacts-dir", "artifacts", "`FOLDER` where artifacts are written")
	f.defineForm(flags, "print the server's answer", "print the program's stdout and nothing else")
	flags.BoolVar(&f.form.explain, "explain", false, "print every limit and its use on stderr; with --json the answer has them")
	flags.BoolVarP(&f.form.verbose, "verbose", "v", false, "say session, time and memory on stderr")
}

// defineProgram makes the flags that say what is run. Every command that runs something has them.
func (f *executeFlags) defineProgram(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVarP(&f.lang, "lang", "l", "", "`LANGUAGE`, name or alias (default: by the extension of the first file)")
	flags.StringVar(&f.version, "runtime-version", "", "`VERSION` of the language: 3, 3.12, ~3.12 or ^3 (default newest)")
	flags.StringVarP(&f.code, "code", "c", "", "the program: `CODE` in the language")
	flags.StringArrayVarP(&f.files, "file", "f", nil, "`FILE` of the program, repeatable: the first is run; - is standard input")
	flags.StringArrayVar(&f.args, "arg", nil, "argument `ARG` of the program, repeatable; what follows -- is appended")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment variable `NAME=VALUE`, or NAME to pass on its value; repeatable")
}

func (f *executeFlags) defineStdin(flags *pflag.FlagSet) {
	flags.StringVar(&f.stdin, "stdin", "", "`TEXT` of the program's standard input; - passes on that of runtools (default empty)")
}

func (f *executeFlags) defineLimits(flags *pflag.FlagSet) {
	flags.Var(&f.timeout, "timeout", "wall time of the run: 5s, 1m30s, or a number of milliseconds")
	flags.Var(&f.compileTimeout, "compile-timeout", "wall time of the compilation")
	flags.Var(&f.cpuTime, "cpu-time", "CPU time of all processes of the run")
	flags.Var(&f.compileCPUTime, "compile-cpu-time", "CPU time of all processes of the compilation")
	flags.Var(&f.memory, "memory", "memory of the run: bytes, or 512K, 256M, 2G (powers of 1024)")
	flags.Var(&f.compileMemory, "compile-memory", "memory of the compilation")
	flags.Var(&f.outputLimit, "output-limit", "of each of stdout and stderr, in each stage")
}

// defineForm makes the flags of the forms of output that every command has.
func (f *executeFlags) defineForm(flags *pflag.FlagSet, json, quiet string) {
	flags.BoolVar(&f.form.json, "json", false, json+", JSON on one line")
	flags.BoolVarP(&f.form.quiet, "quiet", "q", false, quiet)
}

// argsAfterDash lets through what stands behind --. A word before it is most likely a forgotten flag.
func argsAfterDash(cmd *cobra.Command, args []string) error {
	if n := cmd.ArgsLenAtDash(); len(args) > 0 && n != 0 {
		return usagef("unexpected argument %q: a program is given with --code or --file, its arguments follow --", args[0])
	}
	return nil
}

// prepare makes the request of the flags, and the client that sends it.
func (a *app) prepare(cmd *cobra.Command, f *executeFlags, afterDash []string) (*client.Client, *client.Request, error) {
	if err := f.check(cmd.Flags()); err != nil {
		return nil, nil, err
	}
	c, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	req, err := f.request(a.stdin, afterDash)
	if err != nil {
		return nil, nil, err
	}
	if req.Language == "" {
		if req.Language, err = languageOf(cmd.Context(), c, f.files[0]); err != nil {
			return nil, nil, err
		}
	}
	return c, req, nil
}

func (a *app) execute(cmd *cobra.Command, f *executeFlags, afterDash []string) error {
	c, req, err := a.prepare(cmd, f, afterDash)
	if err != nil {
		return err
	}
	if f.async {
		return a.start(cmd.Context(), c, f.form, req)
	}
	res, err := a.carryOut(cmd.Context(), c, f, req)
	if err != nil {
		return err
	}
	if statusOf(res) != 0 && !f.form.json && !f.form.quiet && !f.interactive && !f.readsStdin() {
		defer hintUnreadStdin(a.stdin, a.stderr)
	}
	return a.conclude(f, res)
}

// conclude is what follows the output: files, figures, the exit status.
func (a *app) conclude(f *executeFlags, res *client.Result) error {
	if !f.form.json {
		if err := a.saveArtifacts(f.artifactsDir, res); err != nil {
			return err
		}
	}
	if res.Repeat != nil && !f.form.json && !f.form.quiet {
		a.printRepeat(res.Repeat)
	}
	if status := statusOf(res); status != 0 {
		return exitStatus(status)
	}
	return nil
}

// carryOut runs the program and shows what it did.
func (a *app) carryOut(ctx context.Context, c *client.Client, f *executeFlags, req *client.Request) (*client.Result, error) {
	if f.interactive {
		res, err := a.interact(ctx, c, req)
		if err != nil {
			return nil, err
		}
		return res, a.printNotes(f.form, res, nil)
	}
	if f.stream {
		return a.follow(ctx, c, f.form, req)
	}
	end := a.progress(f.form).tick("waiting for the program (--stream shows its output as it comes)")
	res, err := c.Execute(ctx, req)
	end()
	if err != nil {
		return nil, err
	}
	return res, a.print(f.form, res)
}

// follow shows what the program writes as it comes.
func (a *app) follow(ctx context.Context, c *client.Client, form outputForm, req *client.Request) (*client.Result, error) {
	var lastErr []byte
	for event, err := range c.Stream(ctx, req) {
		if err != nil {
			return nil, err
		}
		switch event.Name {
		case "compile":
			if !form.quiet {
				err = a.printCompile(event.Compile)
			}
		case "stdout":
			_, err = a.stdout.Write(event.Output)
		case "stderr":
			if !form.quiet {
				lastErr = event.Output
				_, err = a.stderr.Write(event.Output)
			}
		case "result":
			if form.quiet {
				return event.Result, nil
			}
			return event.Result, a.printNotes(form, event.Result, lastErr)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the server ended its answer before the result")
}

// check finds combinations that cannot be meant.
func (f *executeFlags) check(flags *pflag.FlagSet) error {
	hasCode := flags.Changed("code")
	switch {
	case !hasCode && len(f.files) == 0:
		return usagef("no program: give --code CODE or --file FILE (--file - reads standard input)")
	case f.form.json && f.stream:
		return usagef("--json and --stream exclude each other: the answer comes at the end")
	case f.interactive && (f.form.json || f.form.quiet || f.stream || flags.Changed("stdin")):
		return usagef("--interactive excludes --json, --quiet, --stream and --stdin: the program gets runtools' input, and its output is shown as it comes")
	case f.interactive && slices.Contains(f.files, "-"):
		return usagef("--interactive and --file -: runtools' input is for the program")
	case f.form.json && f.form.quiet:
		return usagef("--json and --quiet exclude each other")
	case f.form.explain && f.form.quiet:
		return usagef("--explain and --quiet exclude each other")
	case f.async && (f.interactive || f.stream || flags.Changed("artifacts-dir")):
		return usagef("--async excludes --interactive, --stream and --artifacts-dir: nobody waits; runtools execution wait shows the result")
	case f.webhook == "" && f.webhookSecret != "":
		return usagef("--webhook-secret: of which webhook? add --webhook URL")
	case f.webhook != "" && !f.async:
		return usagef("--webhook wants --async: whoever waits is told the result")
	case f.webhook != "" && f.secret() == "":
		return usagef("--webhook: what signs it? set %s to whsec_ and 24 to 64 random bytes in base64: echo whsec_$(openssl rand -base64 32)", envWebhookSecret)
	case f.session != "" && f.ephemeral:
		return usagef("--session and --ephemeral exclude each other")
	case flags.Changed("repeat") && f.repeat < 1:
		return usagef("--repeat %d: how often? 1 to 100", f.repeat)
	case flags.Changed("artifacts-dir") && len(f.artifacts) == 0:
		return usagef("--artifacts-dir: which files? add --artifact PATTERN")
	case f.lang == "" && (hasCode || f.files[0] == "-"):
		return usagef("which language? add --lang, such as --lang python (list: runtools execute runtimes)")
	}
	for i, name := range f.files {
		if name == "-" && (i > 0 || hasCode) {
			return usagef("--file - is the program that is run: it must be the first file, without --code")
		}
	}
	if f.stdin == "-" && len(f.files) > 0 && f.files[0] == "-" {
		return usagef("--file - and --stdin - both want standard input: put the program into a file")
	}
	return nil
}

// envWebhookSecret is the variable for the secret: a flag can be seen in ps.
const envWebhookSecret = "RUNTOOLS_WEBHOOK_SECRET"

func (f *executeFlags) secret() string { return cmp.Or(f.webhookSecret, os.Getenv(envWebhookSecret)) }

func (f *executeFlags) readsStdin() bool {
	return f.stdin != "" || len(f.files) > 0 && f.files[0] == "-"
}

func (f *executeFlags) request(stdin *os.File, afterDash []string) (*client.Request, error) {
	req := &client.Request{
		Language:           f.lang,
		Version:            f.version,
		Code:               f.code,
		Args:               append(f.args, afterDash...),
		SessionID:          f.session,
		Ephemeral:          f.ephemeral,
		Explain:            f.form.explain,
		Artifacts:          f.artifacts,
		Repeat:             f.repeat,
		RunTimeout:         int64(f.timeout),
		CompileTimeout:     int64(f.compileTimeout),
		RunCPUTime:         int64(f.cpuTime),
		CompileCPUTime:     int64(f.compileCPUTime),
		RunMemoryLimit:     int64(f.memory),
		CompileMemoryLimit: int64(f.compileMemory),
		OutputLimit:        int64(f.outputLimit),
	}
	if f.webhook != "" {
		req.Webhook = &client.Webhook{URL: f.webhook, Secret: f.secret()}
	}
	var err error
	if req.Env, err = environment(f.env); err != nil {
		return nil, err
	}
	if err := addProgram(req, f.files, stdin); err != nil {
		return nil, err
	}
	if err := addStdin(req, f.stdin, stdin); err != nil {
		return nil, err
	}
	return req, checkText(req)
}

func environment(pairs []string) (map[string]string, error) {
	env := make(map[string]string, len(pairs))
	for _, p := range pairs {
		name, value, given := strings.Cut(p, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				return nil, usagef("--env %s: not set here; write --env %s=VALUE", name, name)
			}
		}
		if name == "" {
			return nil, usagef("--env %s: no name before =", p)
		}
		env[name] = value
	}
	return env, nil
}

// checkText refuses what JSON would carry as U+FFFD in silence.
func checkText(req *client.Request) error {
	texts := map[string]string{"--code": req.Code, "--session": req.SessionID, "--lang": req.Language}
	for i, arg := range req.Args {
		texts[fmt.Sprintf("argument %d", i+1)] = arg
	}
	for name, value := range req.Env {
		texts["--env "+name] = name + value
	}
	for what, text := range texts {
		if !utf8.ValidString(text) {
			return usagef("%s is not UTF-8; only files and standard input may hold other bytes", what)
		}
	}
	return nil
}
