package mcptools

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

type noInput struct{}

func (t *toolbox) listRuntimes(ctx context.Context, _ noInput) ([]string, error) {
	list, err := t.client.Runtimes(ctx)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "%s %s", r.Language, r.Version)
		if len(r.Aliases) > 0 {
			fmt.Fprintf(&b, " (also %s)", strings.Join(r.Aliases, ", "))
		}
		if r.Compiled {
			b.WriteString(", compiled")
		}
		b.WriteByte('\n')
	}
	return []string{b.String()}, nil
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
	data := part.Content[:min(len(part.Content), readMost)] // a server may ignore a range, as of an offset that is no file's
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
