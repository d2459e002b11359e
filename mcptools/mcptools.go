// Package mcptools serves the Code Execution API to a language model by the Model Context Protocol: the tools, their descriptions, and what
// of an output a model gets to see. `runtools mcp` serves them on standard input and output, apid at /mcp over HTTP; both by way of
// [client.Client], so what a model can do is what its key can do.
package mcptools

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runtools/runtools/pkg/client"
)

// What a tool may put into a model's context: a careless `cat` must not fill it.
const (
	outputBudget = 16 << 10 // bytes of one stream of a program, and of a file unless the model asks for more
	readMost     = 64 << 10 // bytes of a file that one call returns
	listMost     = 500      // entries of a listing
	errorMost    = 1 << 10  // bytes of what was wrong with a call, which repeats what the model sent
)

const instructions = `Runs code in sandboxes without network. Each call of execute is a fresh sandbox: processes do not survive it. The files of ` +
	`the working directory and the environment live on in a session: pass the session_id of an answer to the next call to find them again. ` +
	`A session ends ten minutes after its last use, unless the server's operator says otherwise.`

// toolbox holds what the tools share.
type toolbox struct {
	client  *client.Client
	explain func(error) string
}

// schemas are those of the tools' arguments, for the servers that apid makes, one a request.
var schemas = mcp.NewSchemaCache()

// New makes a server whose tools call c. explain words an error for people; nil: the error's own text.
func New(c *client.Client, explain func(error) string) *mcp.Server {
	t := &toolbox{client: c, explain: explain}
	s := mcp.NewServer(&mcp.Implementation{Name: "runtools", Version: version()}, &mcp.ServerOptions{
		Instructions: instructions,
		// The tools are always the same, so nobody needs to listen for a change of them.
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
		SchemaCache:  schemas,
	})
	s.AddReceivingMiddleware(shortErrors)
	no, yes := false, true
	reads := &mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &no}
	writes := &mcp.ToolAnnotations{DestructiveHint: &no, OpenWorldHint: &no}
	ends := &mcp.ToolAnnotations{DestructiveHint: &yes, IdempotentHint: true, OpenWorldHint: &no}
	mcp.AddTool(s, &mcp.Tool{Name: "execute", Annotations: writes, Description: `Run a program in a fresh sandbox and get its exit code, stdout and stderr. ` +
		`Give code (one file) or files (the first is run) or both. No network, no packages but the installed ones. To work on files over several ` +
		`calls, pass the session_id that the first answer names. Long output is cut in the middle; the answer then says how to read the rest.`}, tool(t, t.execute))
	mcp.AddTool(s, &mcp.Tool{Name: "list_runtimes", Annotations: reads, Description: `List the languages and versions that execute can run.`}, tool(t, t.listRuntimes))
	mcp.AddTool(s, &mcp.Tool{Name: "list_files", Annotations: reads, Description: `List the files in the working directory of a session, with sizes in bytes.`}, tool(t, t.listFiles))
	mcp.AddTool(s, &mcp.Tool{Name: "read_file", Annotations: reads, Description: fmt.Sprintf(`Read a file of a session, or a part of it: length bytes from offset on. `+
		`A call returns %d bytes unless length asks for more, and says where to go on.`, outputBudget)}, tool(t, t.readFile))
	mcp.AddTool(s, &mcp.Tool{Name: "write_file", Annotations: writes, Description: `Write a file into the working directory of a session, in place of the one of that name. ` +
		`Folders are made, and so is the session if there is none of that name: any name of A-Z a-z 0-9 . _ - will do.`}, tool(t, t.writeFile))
	mcp.AddTool(s, &mcp.Tool{Name: "fork_session", Annotations: writes, Description: `Make new sessions that begin with the files and the environment of one: to try ` +
		`several ways from the same point, or to keep a state to come back to.`}, tool(t, t.forkSession))
	mcp.AddTool(s, &mcp.Tool{Name: "end_session", Annotations: ends, Description: `End a session, files and all.`}, tool(t, t.endSession))
	mcp.AddTool(s, &mcp.Tool{Name: "start_execution", Annotations: writes, Description: `Begin what execute does and do not wait for its end: for programs that take ` +
		`longer than a call may, or to do something else meanwhile. The answer names the execution.`}, tool(t, t.startExecution))
	mcp.AddTool(s, &mcp.Tool{Name: "get_execution", Annotations: reads, Description: `Wait for the end of an execution and get what execute would have told. It is kept for ` +
		`some minutes after its end, and can be asked for again.`}, tool(t, t.getExecution))
	mcp.AddTool(s, &mcp.Tool{Name: "cancel_execution", Annotations: ends, Description: `Kill a program that start_execution began, and forget it.`}, tool(t, t.cancelExecution))
	return s
}

// shortErrors cuts what is said of a call that failed, also by the SDK, before a tool of ours is asked.
func shortErrors(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		res, err := next(ctx, method, req)
		if called, ok := res.(*mcp.CallToolResult); ok && err == nil && called.IsError {
			for _, content := range called.Content {
				if text, ok := content.(*mcp.TextContent); ok && len(text.Text) > errorMost {
					text.Text = string(wholeRunes([]byte(text.Text[:errorMost]))) + "..."
				}
			}
		}
		return res, err
	}
}

// version is the module's, as the go command recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// tool makes a handler of a method: its texts become the answer, its error a tool error that says what to do.
func tool[In any](t *toolbox, do func(context.Context, In) ([]string, error)) mcp.ToolHandlerFor[In, any] {
	return func(ctx context.Context, _ *mcp.CallToolRequest, in In) (_ *mcp.CallToolResult, _ any, err error) {
		defer func() {
			// The SDK calls us on a goroutine of its own: a panic there would end apid, with the jobs of all callers.
			if p := recover(); p != nil {
				err = fmt.Errorf("internal error in this tool: %v", p)
			}
		}()
		texts, err := do(ctx, in)
		if err != nil {
			return nil, nil, errors.New(t.advise(err))
		}
		res := new(mcp.CallToolResult)
		for _, text := range texts {
			res.Content = append(res.Content, &mcp.TextContent{Text: text})
		}
		return res, nil, nil
	}
}

// advise adds what a model can do to what a person is told.
func (t *toolbox) advise(err error) string {
	var text string
	var refused *client.Error
	isRefusal := errors.As(err, &refused)
	switch {
	case t.explain != nil:
		text = t.explain(err)
	case isRefusal && refused.Status >= http.StatusInternalServerError && refused.RequestID != "":
		text = fmt.Sprintf("%v (request %s)", err, refused.RequestID)
	default:
		text = err.Error()
	}
	if !isRefusal {
		return text
	}
	switch refused.Code {
	case client.CodeNotFound:
		text += ". list_files shows what is there; a session that ended is begun anew by execute or write_file, and an execution is kept for some minutes"
	case client.CodeUnknownLanguage, client.CodeUnknownVersion:
		text += ". list_runtimes shows what is installed"
	case client.CodePayloadTooLarge:
		text += ". Read it in parts: read_file with offset and length"
	case client.CodeRateLimited, client.CodeOverloaded:
		text += ". Nothing was run: call again in some seconds"
	case client.CodeInterrupted:
		text += ". The program may have run: call again only if that does no harm"
	}
	return text
}
