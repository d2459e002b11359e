package main

import (
	"errors"
	"fmt"
	"io"
)

const seccompUsage = `usage: sandboxd seccomp check FILE                    is it a good profile, and what should be looked at
       sandboxd seccomp diff A B                      what B allows that A does not, and the other way round
       sandboxd seccomp explain FILE [SYSCALL]        who needs a call, who would break without it, what it exposes
       sandboxd seccomp minimise FILE USE...          the smallest profile that allows what was recorded
       sandboxd seccomp record -o DIR [flags]         serve, and record which calls the jobs make; trusted programs only
       sandboxd seccomp shadow [-config FILE] [-socket S] [-jobs N]
                                                      what the profiles on trial would deny, asked of the sandboxd that runs
FILE, A and B are profiles, USE records of seccomp-profiles/use.
`

// seccompCommand carries out a command that reads profiles. It needs no privileges.
func seccompCommand(args []string, out io.Writer) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		fmt.Fprint(out, seccompUsage)
		return nil
	}
	name, args := args[0], args[1:]
	switch {
	case name == "check" && len(args) == 1:
		return seccompCheck(args[0], out)
	case name == "diff" && len(args) == 2:
		return seccompDiff(args[0], args[1], out)
	case name == "explain" && len(args) == 1:
		return seccompExplain(args[0], "", out)
	case name == "explain" && len(args) == 2:
		return seccompExplain(args[0], args[1], out)
	case name == "minimise" && len(args) >= 2:
		return seccompMinimise(args[0], args[1:], out)
	}
	return errors.New("seccomp: " + name + ": unknown, or not so many arguments: run sandboxd seccomp -h")
}
