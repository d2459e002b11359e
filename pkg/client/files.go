package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// SessionInfo is what the server knows of a session.
type SessionInfo struct {
	SessionID string    `json:"session_id"`
	Bytes     int64     `json:"bytes"`     // of its files
	EnvBytes  int64     `json:"env_bytes"` // of its environment
	Busy      bool      `json:"busy"`      // a request of it runs or waits
	LastUsed  time.Time `json:"last_used"`
	Expires   time.Time `json:"expires"` // unless it is used before
}

// FileInfo is one entry of a session's working directory.
type FileInfo struct {
	Path       string  `json:"path"`        // relative to the working directory; bytes that are not UTF-8 appear as U+FFFD
	PathBase64 string  `json:"path_base64"` // the exact bytes, only when Path is not exact
	Type       string  `json:"type"`        // "file", "folder", "link" or "other"
	Size       int64   `json:"size"`        // bytes
	Mode       string  `json:"mode"`        // permissions, octal
	Modified   float64 `json:"modified"`    // seconds since 1970
}

// FilePart is a part of a file.
type FilePart struct {
	Content []byte
	Total   int64 // size of the whole file, bytes
}

// SessionInfo tells how large a session is and when it ends. A session that is not there is an [*Error] with [CodeNotFound]; so it is in
// the other calls below, WriteFile excepted.
func (c *Client) SessionInfo(ctx context.Context, id string) (*SessionInfo, error) {
	address, err := idPath(pathSessions, id)
	if err != nil {
		return nil, err
	}
	info := new(SessionInfo)
	if err := c.Call(ctx, http.MethodGet, address, nil, info); err != nil {
		return nil, err
	}
	return info, nil
}

// Files lists what is in a session's working directory, folders included, at any depth.
func (c *Client) Files(ctx context.Context, id string) ([]FileInfo, error) {
	var list struct {
		Files []FileInfo `json:"files"`
	}
	address, err := idPath(pathSessions, id)
	if err == nil {
		err = c.Call(ctx, http.MethodGet, address+"/files", nil, &list)
	}
	return list.Files, err
}

// ReadFile returns the bytes of a regular file. The server hands over 32 MiB at one time unless its operator says otherwise; of a longer
// file read parts with [Client.ReadFilePart], or take the archive.
func (c *Client) ReadFile(ctx context.Context, id, path string) ([]byte, error) {
	part, err := c.readFile(ctx, id, path, "")
	return part.Content, err
}

// ReadFilePart returns at most length bytes from offset on, none if the file ends before. length is at least 1.
func (c *Client) ReadFilePart(ctx context.Context, id, path string, offset, length int64) (FilePart, error) {
	if offset < 0 || length < 1 {
		return FilePart{}, fmt.Errorf("part of %s: offset %d, length %d: want at least 0 and 1", path, offset, length)
	}
	return c.readFile(ctx, id, path, fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
}

func (c *Client) readFile(ctx context.Context, id, path, byteRange string) (part FilePart, err error) {
	address, err := filePath(id, path)
	if err != nil {
		return part, err
	}
	err = c.retrying(ctx, true, func() error {
		header := make(http.Header)
		if byteRange != "" {
			header.Set("Range", byteRange)
		}
		resp, err := c.send(ctx, http.MethodGet, address, nil, header)
		var refused *Error
		if errors.As(err, &refused) && refused.Status == http.StatusRequestedRangeNotSatisfiable {
			part.Total = refused.total
			return nil
		}
		if err != nil {
			return err
		}
		if part.Content, err = c.readAll(resp); err != nil {
			return err
		}
		part.Total = int64(len(part.Content))
		if resp.StatusCode == http.StatusPartialContent {
			part.Total = totalOf(resp)
		}
		return nil
	})
	return part, err
}

// totalOf reads the end of "bytes 0-9/100" and "bytes */100", 0 if there is none.
func totalOf(resp *http.Response) int64 {
	_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
	n, _ := strconv.ParseInt(total, 10, 64)
	return n
}

// WriteFile makes content the file at path, with the folders above it, in place of what was there. It makes the session if there is none.
func (c *Client) WriteFile(ctx context.Context, id, path string, content []byte) error {
	address, err := filePath(id, path)
	if err != nil {
		return err
	}
	return c.retrying(ctx, true, func() error {
		header := http.Header{"Content-Type": {"application/octet-stream"}}
		resp, err := c.send(ctx, http.MethodPut, address, content, header)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// RemoveFile removes a file, or a folder with all that is in it.
func (c *Client) RemoveFile(ctx context.Context, id, path string) error {
	address, err := filePath(id, path)
	if err != nil {
		return err
	}
	return c.Call(ctx, http.MethodDelete, address, nil, nil)
}

// Archive returns a tar of all files as it comes from the server. The caller closes it.
func (c *Client) Archive(ctx context.Context, id string) (archive io.ReadCloser, err error) {
	address, err := idPath(pathSessions, id)
	if err != nil {
		return nil, err
	}
	err = c.retrying(ctx, true, func() error {
		resp, err := c.send(ctx, http.MethodGet, address+"/archive", nil, make(http.Header))
		if err != nil {
			return err
		}
		archive = resp.Body
		return nil
	})
	return archive, err
}

// Fork makes count new sessions, 1 to 100, that begin with the files and the environment of this one, and returns their ids.
func (c *Client) Fork(ctx context.Context, id string, count int) ([]string, error) {
	in := struct {
		Count int `json:"count"`
	}{count}
	var out struct {
		SessionIDs []string `json:"session_ids"`
	}
	address, err := idPath(pathSessions, id)
	if err == nil {
		err = c.Call(ctx, http.MethodPost, address+"/fork", in, &out)
	}
	return out.SessionIDs, err
}

// idPath is the path of what has that id. Servers and proxies decode a path, and take parts that are dots out of it, before they look at it: of an id such as
// "../sessions/a", which a model may have been talked into, the server would be asked for something else.
func idPath(above, id string) (string, error) {
	if id == "" || id == "." || id == ".." || strings.Contains(id, "/") {
		return "", fmt.Errorf("id %q: want one as the server gives them; it is not empty, no dots alone, and has no slash", id)
	}
	return above + url.PathEscape(id), nil
}

// filePath refuses what servers resolve in a URL: "..", and to remove it, would mean the session itself.
func filePath(id, path string) (string, error) {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("path %q: want a relative one; no part may be empty, a dot or two dots", path)
		}
		parts[i] = url.PathEscape(part)
	}
	address, err := idPath(pathSessions, id)
	return address + "/files/" + strings.Join(parts, "/"), err
}
