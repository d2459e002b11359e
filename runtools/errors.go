package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// usageError is a mistake on our command line. Its text says what to do instead.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// onlyCommands is for a command that has others below it and does nothing itself.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	remedy := "see " + cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = len(args[0]) / 3 // at most: one slip in three letters
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		remedy = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("unknown command %q for %q: %s", args[0], cmd.CommandPath(), remedy)
}

// visible shows what a terminal would obey, and what turns the order of a text about: a message may have the name of a file in it, which a program chose.
func visible(message string) string {
	var b strings.Builder
	for _, r := range message {
		if r == '\n' || unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// explain makes the message for a failure of ours: what happened, and the remedy where there is one.
func (a *app) explain(err error) string {
	var refused *client.Error
	if errors.As(err, &refused) {
		if text := a.explainRefusal(refused); text != "" {
			return text
		}
		return err.Error() // the server's words, and what it was about
	}
	var lost *url.Error
	if !errors.As(err, &lost) {
		return err.Error()
	}
	if dial := new(net.OpError); errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Sprintf("cannot reach %s: %v\n"+
			"  start a server with `make run` in the runtools repository, or name one with RUNTOOLS_URL or --url",
			a.serverURL(), dial.Err)
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Sprintf("%s speaks http, and not https: say http:// in RUNTOOLS_URL or --url", a.serverURL())
	}
	return fmt.Sprintf("no answer from %s: %v (was the server stopped? its log says more)", a.serverURL(), lost.Err)
}

// explainRefusal is empty where the server's words say all there is to say.
func (a *app) explainRefusal(e *client.Error) string {
	switch {
	case e.Status == http.StatusUnauthorized && a.key() == "":
		return "no API key: set RUNTOOLS_API_KEY, or pass --api-key"
	case e.Status == http.StatusUnauthorized:
		from := "RUNTOOLS_API_KEY"
		if a.apiKey != "" {
			from = "--api-key"
		}
		return fmt.Sprintf("%s did not accept the API key of %s (%v)", a.serverURL(), from, e)
	case e.Code == "":
		return fmt.Sprintf("%s is no Code Execution API: %v\n  name the server with RUNTOOLS_URL or --url", a.serverURL(), e)
	case e.RetryAfter > 0:
		return fmt.Sprintf("%v; try again in %d s", e, int(e.RetryAfter/time.Second))
	case e.Status >= http.StatusInternalServerError && e.RequestID != "":
		return fmt.Sprintf("%v (request %s in the log of %s)", e, e.RequestID, a.serverURL())
	}
	return ""
}
