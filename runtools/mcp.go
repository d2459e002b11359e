package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// What a tool may put into a model's context: a careless `cat` must not fill it.
const (
	outputBudget = 16 << 10 // bytes of one stream of a program, and of a file unless the model asks for more
	readMost     = 64 << 10 // bytes of a file that one call returns
	listMost     = 500      // entries of a listing
)

// outputFolder is where the whole of an output that was cut is kept, in the session.
const outputFolder = ".output/"

const mcpInstructions = `Runs code in sandboxes without network. Each call of execute is a fresh sandbox: processes do not survive it. The files of ` +
	`the working directory and the environment live on in a session: pass the session_id of an answer to the next call to find them again. ` +
	`A session ends ten minutes after its last use, unless the server's operator says otherwise.`

func (a *app) mcpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mcp",
		Short: "Serve the API to a language model (Model Context Protocol, on stdin and stdout)",
		Long: `Serve the API to a language model by the Model Context Protocol, on standard input and output.

An MCP client starts this command by itself; docs/cli.md shows its configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			c.MaxRetries = client.DefaultRetries // a model would give up where a moment's wait helps
			return a.mcpServer(c).Run(cmd.Context(), &mcp.StdioTransport{})
		},
	}
}

// toolbox holds what the tools share.
type toolbox struct {
	app    *app
	client *client.Client
}

func (a *app) mcpServer(c *client.Client) *mcp.Server {
	t := &toolbox{app: a, client: c}
	s := mcp.NewServer(&mcp.Implementation{Name: "runtools", Version: version()},
		&mcp.ServerOptions{Instructions: mcpInstructions, Capabilities: &mcp.ServerCapabilities{}})
	no := false
	reads := &mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &no}
	writes := &mcp.ToolAnnotations{DestructiveHint: &no, OpenWorldHint: &no}
	mcp.AddTool(s, &mcp.Tool{Name: "execute", Annotations: writes, Description: `Run a program in a fresh sandbox and get its exit code, stdout and stderr. ` +
		`Give code (one file) or files (the first is run) or both. No network, no packages but the installed ones. To work on files over several ` +
		`calls, pass the session_id that the first answer names. Long output is cut in the middle; the answer then says how to read the rest.`}, tool(t, t.execute))
	mcp.AddTool(s, &mcp.Tool{Name: "list_runtimes", Annotations: reads, Description: `List the languages and versions that execute can run.`}, tool(t, t.listRuntimes))
	mcp.AddTool(s, &mcp.Tool{Name: "list_files", Annotations: reads, Description: `List the files in the working directory of a session, with sizes in bytes.`}, tool(t, t.listFiles))
	mcp.AddTool(s, &mcp.Tool{Name: "read_file", Annotations: reads, Description: fmt.Sprintf(`Read a file of a session, or a part of it: length bytes from offset on. `+
		`A call returns %d bytes unless length asks for more, and says where to go on.`, outputBudget)}, tool(t, t.readFile))
	mcp.AddTool(s, &mcp.Tool{Name: "write_file", Annotations: writes, Description: `Write a file into the working directory of a session, in place of the one of that name. ` +
		`Folders are made, and so is the session if there is none of that name: any name of A-Z a-z 0-9 . _ - will do.`}, tool(t, t.writeFile))
	return s
}

// tool makes a handler of a method: its texts become the answer, its error a tool error that says what to do.
func tool[In any](t *toolbox, do func(context.Context, In) ([]string, error)) mcp.ToolHandlerFor[In, any] {
	return func(ctx context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		texts, err := do(ctx, in)
		if err != nil {
			return nil, nil, errors.New(t.explain(err))
		}
		res := new(mcp.CallToolResult)
		for _, text := range texts {
			res.Content = append(res.Content, &mcp.TextContent{Text: text})
		}
		return res, nil, nil
	}
}

// explain adds what a model can do to what a person is told.
func (t *toolbox) explain(err error) string {
	text := t.app.explain(err)
	var refused *client.Error
	if !errors.As(err, &refused) {
		return text
	}
	switch refused.Code {
	case "not_found":
		text += ". list_files shows what is there; a session that ended is begun anew by execute or write_file"
	case "unknown_language", "unknown_version":
		text += ". list_runtimes shows what is installed"
	case "payload_too_large":
		text += ". Read it in parts: read_file with offset and length"
	case "interrupted":
		text += ". The program may have run: call again only if that does no harm"
	}
	return text
}

type executeInput struct {
	Language     string      `json:"language" jsonschema:"name or alias: python, javascript, typescript, bash, c, c++, go, ruby, rust, java, cs; list_runtimes shows all"`
	Code         string      `json:"code,omitempty" jsonschema:"the program, written to the language's main file and run"`
	Files        []inputFile `json:"files,omitempty" jsonschema:"files of the program; without code the first is run"`
	Stdin        string      `json:"stdin,omitempty" jsonschema:"standard input of the program"`
	Args         []string    `json:"args,omitempty" jsonschema:"arguments of the program"`
	SessionID    string      `json:"session_id,omitempty" jsonschema:"session to work in; without it a new one is made, and named in the answer"`
	RunTimeoutMS int64       `json:"run_timeout_ms,omitempty" jsonschema:"wall time after which the program is ended, milliseconds; the server's maximum unless given"`
}

type inputFile struct {
	Name    string `json:"name" jsonschema:"relative path, such as main.py or lib/util.py"`
	Content string `json:"content" jsonschema:"text of the file"`
}

func (t *toolbox) execute(ctx context.Context, in executeInput) ([]string, error) {
	req := &client.Request{
		Language: in.Language, Code: in.Code, Stdin: in.Stdin, Args: in.Args, SessionID: in.SessionID, RunTimeout: in.RunTimeoutMS,
	}
	for _, f := range in.Files {
		req.Files = append(req.Files, client.File{Name: f.Name, Content: f.Content})
	}
	res, err := t.client.Execute(ctx, req)
	if err != nil {
		return nil, err
	}
	texts := []string{head(res)}
	add := func(title, name string, data []byte, err error) {
		switch {
		case err != nil:
			texts = append(texts, title+" cannot be shown: "+err.Error())
		case len(data) > 0:
			texts = append(texts, title+":\n"+t.fit(ctx, res.SessionID, name, data))
		}
	}
	if res.Compile != nil {
		words, err := compilerWords(res.Compile)
		add("compiler", "compiler", words, err)
	}
	if res.Run.Status != client.CompilationFailure {
		out, err := res.Run.StdoutBytes()
		add("stdout", "stdout", out, err)
		out, err = res.Run.StderrBytes()
		add("stderr", "stderr", out, err)
	}
	return texts, nil
}

// head says how the program ended and where its files are.
func head(res *client.Result) string {
	var b strings.Builder
	switch s := &res.Run; {
	case s.Status == client.CompilationFailure:
		b.WriteString("compilation failed; the program was not run")
	case s.Code != nil:
		fmt.Fprintf(&b, "exit code %d", *s.Code)
	default:
		b.WriteString("killed by " + s.Signal)
	}
	if res.Compile != nil {
		if note := noteOf(res.Compile); note != "" {
			b.WriteString("; compile: " + note)
		}
	}
	if note := noteOf(&res.Run); note != "" && res.Run.Status != client.CompilationFailure {
		b.WriteString("; " + note)
	}
	for _, v := range res.Run.Violations {
		fmt.Fprintf(&b, "; the sandbox denied %s(%s)", v.Syscall, v.Args)
	}
	b.WriteString("\n" + summary(res))
	if res.SessionCreated {
		b.WriteString("\nthere was no session of this id, so it began empty: if you had files in it, it expired")
	}
	return b.String()
}

// fit cuts an output that is over the budget and keeps the whole of it in the session, where read_file finds it.
func (t *toolbox) fit(ctx context.Context, session, name string, data []byte) string {
	if len(data) <= outputBudget {
		return text(data)
	}
	first := wholeRunes(data[:outputBudget/2])
	last := data[len(data)-outputBudget/2:]
	for len(last) > 0 && !utf8.RuneStart(last[0]) {
		last = last[1:]
	}
	from, left := len(first), len(data)-len(first)-len(last)
	rest := fmt.Sprintf("read them: read_file with session_id %q, path %q, offset %d (kept until the next output that is too long)",
		session, outputFolder+name, from)
	if err := t.client.WriteFile(ctx, session, outputFolder+name, data); err != nil {
		rest = fmt.Sprintf("they could not be kept (%v): let the program write to a file and use read_file", err)
	}
	return text(first) + fmt.Sprintf("\n[%d of %d bytes left out here; %s]\n", left, len(data), rest) + text(last)
}

// wholeRunes drops the beginning of a character at the end of data.
func wholeRunes(data []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if at := len(data) - n; utf8.RuneStart(data[at]) {
			if !utf8.FullRune(data[at:]) {
				return data[:at]
			}
			break
		}
	}
	return data
}

// text is for a JSON string, which can hold nothing but UTF-8.
func text(data []byte) string { return strings.ToValidUTF8(string(data), "\ufffd") }

type noInput struct{}

func (t *toolbox) listRuntimes(ctx context.Context, _ noInput) ([]string, error) {
	list, err := t.client.Runtimes(ctx)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = writeTable(&b, list)
	return []string{b.String()}, err
}

type sessionInput struct {
	SessionID string `json:"session_id" jsonschema:"the session"`
}

func (t *toolbox) listFiles(ctx context.Context, in sessionInput) ([]string, error) {
	list, err := t.client.Files(ctx, in.SessionID)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return []string{"no files"}, nil
	}
	var b strings.Builder
	for _, f := range list[:min(len(list), listMost)] {
		fmt.Fprintf(&b, "%-6s %10d  %s\n", f.Type, f.Size, f.Path)
	}
	if left := len(list) - listMost; left > 0 {
		fmt.Fprintf(&b, "[%d of %d entries left out here; execute find or ls in bash with this session_id to see a part]\n", left, len(list))
	}
	return []string{b.String()}, nil
}

type readInput struct {
	SessionID string `json:"session_id" jsonschema:"the session"`
	Path      string `json:"path" jsonschema:"relative to the working directory"`
	Offset    int64  `json:"offset,omitempty" jsonschema:"first byte, from 0"`
	Length    int64  `json:"length,omitempty" jsonschema:"bytes to read, at most 65536; 16384 unless given"`
}

func (t *toolbox) readFile(ctx context.Context, in readInput) ([]string, error) {
	length := in.Length
	if length == 0 {
		length = outputBudget
	}
	part, err := t.client.ReadFilePart(ctx, in.SessionID, in.Path, in.Offset, min(length, readMost))
	if err != nil {
		return nil, err
	}
	data := part.Content
	whole := wholeRunes(data)
	if utf8.Valid(whole) && len(whole) > 0 {
		data = whole // the next part begins with the character that is cut here
	}
	end := in.Offset + int64(len(data))
	about := fmt.Sprintf("%s: bytes %d to %d of %d", in.Path, in.Offset, end, part.Total)
	if end < part.Total {
		about += fmt.Sprintf("; go on with offset %d", end)
	}
	if !utf8.Valid(data) {
		return []string{about + "; not UTF-8, in base64", base64.StdEncoding.EncodeToString(data)}, nil
	}
	return []string{about, string(data)}, nil
}

type writeInput struct {
	SessionID string `json:"session_id" jsonschema:"the session, made if there is none of that name"`
	Path      string `json:"path" jsonschema:"relative to the working directory"`
	Content   string `json:"content" jsonschema:"the whole file"`
	Encoding  string `json:"encoding,omitempty" jsonschema:"of content: utf8 (default) or base64"`
}

func (t *toolbox) writeFile(ctx context.Context, in writeInput) ([]string, error) {
	content := []byte(in.Content)
	switch in.Encoding {
	case "", "utf8":
	case "base64":
		var err error
		if content, err = base64.StdEncoding.DecodeString(in.Content); err != nil {
			return nil, fmt.Errorf("content is not base64 (%w): use the standard alphabet, padded, without line breaks", err)
		}
	default:
		return nil, fmt.Errorf("encoding %q: want utf8 or base64", in.Encoding)
	}
	err := t.client.WriteFile(ctx, in.SessionID, in.Path, content)
	return []string{fmt.Sprintf("%s now holds %d bytes", in.Path, len(content))}, err
}
