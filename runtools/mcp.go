package main

import (
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/runtools/runtools/mcptools"
	"github.com/runtools/runtools/pkg/client"
)

func (a *app) mcpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mcp",
		Short: "Serve the API to a language model (Model Context Protocol, on stdin and stdout)",
		Long: `Serve the API to a language model by the Model Context Protocol, on standard input and output.

An MCP client starts this command by itself; docs/mcp.md shows its configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			c.MaxRetries = client.DefaultRetries // a model would give up where a moment's wait helps
			return mcptools.New(c, a.explain).Run(cmd.Context(), &mcp.StdioTransport{})
		},
	}
}
