package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"path"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"
)

// playgroundFiles are pages for people: static files, the same for everybody, that call the API with the key of whoever looks at them. Their
// sources are in the folder playground of the repository; `make playground` builds them.
//
//go:embed playground
var playgroundFiles embed.FS

// page is one file of the playground.
type page struct {
	kind   string // Content-Type
	tag    string // ETag
	body   []byte
	packed func() []byte // body in gzip, made when it is first wanted
}

// pagePolicy allows a page what ours need, all of it from this server. No inline script or style, no eval, no form, no frame, and no HTML made of
// strings: should some output of a foreign program ever be taken for markup, nothing in it runs, and it cannot send the key anywhere else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// loadPages returns the files of the playground by the path at which they are served.
func loadPages() (map[string]*page, error) {
	const folder = "playground"
	pages := map[string]*page{}
	err := fs.WalkDir(playgroundFiles, folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := playgroundFiles.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		pages[servedAt(strings.TrimPrefix(name, folder))] = &page{
			kind: kindOf(name), tag: `"` + hex.EncodeToString(sum[:8]) + `"`, body: body,
			packed: sync.OnceValue(func() []byte { return fasthttp.AppendGzipBytes(nil, body) }),
		}
		return nil
	})
	return pages, err
}

// servedAt makes "/" of /index.html and "/status" of /status.html.
func servedAt(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, ".html"), "index")
}

// kindOf does not ask the machine's table of types where it matters: a script of another type is not run.
func kindOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}

// page answers with a file of the playground.
func (s *server) page(c *call, p *page) *apiError {
	h := &c.ctx.Response.Header
	h.Set(fasthttp.HeaderContentSecurityPolicy, pagePolicy)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin") // no page that opened ours may hold on to its window
	h.Set(fasthttp.HeaderCacheControl, "no-cache")     // after an upgrade all files are new ones, or none is
	h.Set(fasthttp.HeaderETag, p.tag)
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderAcceptEncoding)
	if string(c.ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch)) == p.tag {
		c.ctx.SetStatusCode(fasthttp.StatusNotModified)
		return nil
	}
	h.SetContentType(p.kind)
	body := p.body
	if c.ctx.Request.Header.HasAcceptEncoding("gzip") {
		h.Set(fasthttp.HeaderContentEncoding, "gzip")
		body = p.packed()
	}
	c.answerBytes = len(body)
	c.ctx.Response.SetBodyRaw(body)
	return nil
}
