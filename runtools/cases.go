package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// casesCommand is `runtools test`: a program against a folder of inputs and outputs, as programming contests keep them.
func (a *app) casesCommand() *cobra.Command {
	f := new(executeFlags)
	var checker string
	var tolerance float64
	var stop bool
	cmd := &cobra.Command{
		Use:   "test --file FILE... FOLDER",
		Short: "Judge a program on the cases of a folder: NAME.in with NAME.out",
		Long: `Judge a program on the cases of a folder. Each NAME.in is an input; NAME.out, if it is there, is what
the program must print. The program is compiled once and runs in a sandbox of its own for each case.

A line for each case: its verdict, time, memory and name. Exit status: 0 all accepted, 1 not, 125 it was not run.`,
		Example: "  runtools test --file sum.cpp --timeout 2s cases/",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want one folder of cases, NAME.in with NAME.out, not %d", len(args))
			}
			if f.form.explain && !f.form.json {
				return usagef("--explain wants --json here: the table of limits is each case's own")
			}
			expect := client.Test{Checker: checker}
			if cmd.Flags().Changed("tolerance") {
				if checker != "floats" {
					return usagef("--tolerance wants --checker floats, which compares numbers")
				}
				expect.Tolerance = &tolerance
			}
			return a.judge(cmd, f, args[0], expect, stop)
		},
	}
	f.defineProgram(cmd.Flags())
	f.defineLimits(cmd.Flags())
	f.defineForm(cmd.Flags(), "print the server's answer", "print no line for each case")
	cmd.Flags().BoolVar(&f.form.explain, "explain", false, "with --json: the answer has every limit and its use")
	cmd.Flags().StringVar(&checker, "checker", "", "how output is compared: tokens (default), exact or floats")
	cmd.Flags().Float64Var(&tolerance, "tolerance", 0, "with --checker floats: how far numbers may differ, absolute or relative (default 0.000001)")
	cmd.Flags().BoolVar(&stop, "stop", false, "end with the first case that is not accepted")
	_ = cmd.RegisterFlagCompletionFunc("lang", a.completeLanguage)
	return cmd
}

func (a *app) judge(cmd *cobra.Command, f *executeFlags, folder string, expect client.Test, stop bool) error {
	names, tests, err := readCases(folder, expect)
	if err != nil {
		return err
	}
	c, req, err := a.prepare(cmd, f, nil)
	if err != nil {
		return err
	}
	req.Tests, req.StopOnFailure = tests, stop
	progress := a.progress(f.form)
	var res *client.Result
	done := 0
	for event, err := range c.Stream(cmd.Context(), req) {
		if err != nil {
			return err
		}
		if event.Name == "test" {
			done++
			progress.show("runtools: %d of %d cases", done, len(names))
		}
		res = event.Result
	}
	progress.show("")
	return a.printVerdicts(f.form, names, res)
}

func (a *app) printVerdicts(form outputForm, names []string, res *client.Result) error {
	if form.json {
		if err := writeJSON(a.stdout, res.Raw); err != nil {
			return err
		}
	} else if res.Compile != nil {
		if err := a.printCompile(res.Compile); err != nil {
			return err
		}
	}
	accepted := 0
	for i, test := range res.Tests {
		if test.Verdict == "AC" {
			accepted++
		}
		if !form.json && !form.quiet {
			shade := red
			if test.Verdict == "AC" {
				shade = green
			}
			fmt.Fprintf(a.stdout, "%s %8.1f ms %8d KiB  %s\n", a.paint(a.stdout, shade, test.Verdict), test.Run.TimeMS, test.Run.MemoryKB, names[i])
		}
	}
	if !form.json && len(res.Tests) > 0 {
		fmt.Fprintf(a.stdout, "%d of %d accepted\n", accepted, len(names))
	}
	if accepted < len(names) {
		return exitStatus(1)
	}
	return nil
}

// readCases finds NAME.in and NAME.out, in order of their names. expect is how output is compared.
func readCases(folder string, expect client.Test) (names []string, tests []client.Test, err error) {
	inputs, err := filepath.Glob(filepath.Join(strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(folder), "*.in"))
	if err != nil {
		return nil, nil, err
	}
	if info, err := os.Stat(folder); err != nil {
		return nil, nil, usagef("%v", err)
	} else if !info.IsDir() {
		return nil, nil, usagef("%s: is not a folder of cases NAME.in and NAME.out", folder)
	}
	if len(inputs) == 0 {
		return nil, nil, usagef("%s: there is no case NAME.in", folder)
	}
	slices.Sort(inputs)
	for _, path := range inputs {
		test := expect
		input, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		test.SetStdin(input)
		name := strings.TrimSuffix(path, ".in")
		switch want, err := os.ReadFile(name + ".out"); {
		case err == nil && !utf8.Valid(want):
			return nil, nil, usagef("%s.out is not UTF-8, which an expected output must be", name)
		case err == nil:
			expected := string(want)
			test.ExpectedStdout = &expected
		case !errors.Is(err, fs.ErrNotExist):
			return nil, nil, err
		}
		names = append(names, filepath.Base(name))
		tests = append(tests, test)
	}
	return names, tests, nil
}
