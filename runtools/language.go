package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// completionPatience bounds the question to the server behind a press of the tab key.
const completionPatience = time.Second

// extensions are the ones of the documented languages: they cost no question to the server. Any other is looked up among
// the names and aliases the server has, so a language that is new there works here.
var extensions = map[string]string{
	"py": "python",
	"js": "javascript", "mjs": "javascript", "cjs": "javascript",
	"ts": "typescript", "mts": "typescript", "cts": "typescript",
	"sh": "bash", "bash": "bash",
	"c":   "c",
	"cpp": "c++", "cc": "c++", "cxx": "c++", "c++": "c++",
	"go":   "go",
	"rb":   "ruby",
	"rs":   "rust",
	"java": "java",
	"cs":   "cs",
}

// languageOf picks the language of a file by its extension.
func languageOf(ctx context.Context, c *client.Client, path string) (string, error) {
	ext := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
	if ext == "" {
		return "", usagef("%s: no extension to pick the language by; add --lang (list: runtools execute runtimes)", path)
	}
	if lang, known := extensions[ext]; known {
		return lang, nil
	}
	list, err := c.Runtimes(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range list {
		if strings.EqualFold(r.Language, ext) || slices.ContainsFunc(r.Aliases, func(alias string) bool {
			return strings.EqualFold(alias, ext)
		}) {
			return r.Language, nil
		}
	}
	return "", usagef("%s: no language goes by .%s; add --lang, one of: %s", path, ext, strings.Join(names(list), ", "))
}

// names returns the languages of the list, each once, in the list's order.
func names(list []client.Runtime) []string {
	var out []string
	for _, r := range list {
		if !slices.Contains(out, r.Language) {
			out = append(out, r.Language)
		}
	}
	return out
}

func (a *app) completeLanguage(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _ := c.Runtimes(ctx) // no server, no proposals: there is nowhere to complain to
	return names(list), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) runtimesCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "runtimes",
		Short: "List the languages the server has installed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if asJSON {
				var raw json.RawMessage
				if err := c.Call(cmd.Context(), http.MethodGet, client.PathRuntimes, nil, &raw); err != nil {
					return err
				}
				return writeJSON(a.stdout, raw)
			}
			list, err := c.Runtimes(cmd.Context())
			if err != nil {
				return err
			}
			return writeTable(a.stdout, list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the server's answer, JSON on one line")
	return cmd
}

func writeTable(w io.Writer, list []client.Runtime) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LANGUAGE\tVERSION\tCOMPILED\tALIASES")
	for _, r := range list {
		compiled := "no"
		if r.Compiled {
			compiled = "yes"
		}
		aliases := "-"
		if len(r.Aliases) > 0 {
			aliases = strings.Join(r.Aliases, ", ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Language, r.Version, compiled, aliases)
	}
	return t.Flush()
}
