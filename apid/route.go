package main

import (
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// route is one resource.
type route struct {
	path    string // as openapi.json has it: {id} stands for one part of an address, {path} for all that is left of it
	calls   calls
	keyless bool
	socket  bool // GET begins a WebSocket: there is no HEAD
}

// calls are by method. HEAD is GET whose body is not sent, and OPTIONS tells what there is.
type calls map[string]func(*server, *call) *apiError

// pathExecute is where programs are run.
const pathExecute = "/v1/execute"

const (
	get    = fasthttp.MethodGet
	post   = fasthttp.MethodPost
	put    = fasthttp.MethodPut
	remove = fasthttp.MethodDelete
)

var routes = []route{
	{path: pathExecute, calls: calls{post: (*server).execute}},
	{path: pathExecute + "/ws", calls: calls{get: (*server).executeSocket}, socket: true},
	{path: pathExecute + "/runtimes", calls: calls{get: (*server).listRuntimes}},
	{path: pathExecutions, calls: calls{post: (*server).startExecution}},
	{path: pathExecutions + "/{id}", calls: calls{get: (*server).execution, remove: (*server).dropExecution}},
	{path: pathSession, calls: calls{get: ofSession((*server).sessionInfo), remove: ofSession((*server).deleteSession)}},
	{path: pathSession + "/files", calls: calls{get: ofSession((*server).listFiles)}},
	{path: pathSession + "/files/{path}", calls: calls{get: ofSession((*server).getFile), put: ofNewSession((*server).putFile), remove: ofSession((*server).deleteFile)}},
	{path: pathSession + "/archive", calls: calls{get: ofSession((*server).archive)}},
	{path: pathSession + "/fork", calls: calls{post: ofSession((*server).fork)}},
	{path: "/api/v2/execute", calls: calls{post: (*server).pistonExecute}},
	{path: "/api/v2/connect", calls: calls{get: (*server).pistonConnect}, socket: true},
	{path: "/api/v2/runtimes", calls: calls{get: (*server).pistonRuntimes}},
	{path: "/mcp", calls: calls{post: (*server).mcp}},
	{path: "/v1/metrics", calls: calls{get: (*server).operatorMetrics}},
	{path: "/openapi.json", calls: calls{get: (*server).openAPI}, keyless: true},
	{path: "/healthz", calls: calls{get: (*server).healthz}, keyless: true},
	{path: "/readyz", calls: calls{get: (*server).readyz}, keyless: true},
}

// allow is the header of that name.
func (r *route) allow() string {
	var methods []string
	for _, m := range []string{get, fasthttp.MethodHead, post, put, remove} {
		if r.calls[m] != nil || m == fasthttp.MethodHead && r.calls[get] != nil && !r.socket {
			methods = append(methods, m)
		}
	}
	return strings.Join(append(methods, fasthttp.MethodOptions), ", ")
}

// find is the call that a method means, or nil.
func (r *route) find(method string) func(*server, *call) *apiError {
	if method == fasthttp.MethodHead && !r.socket {
		method = get
	}
	return r.calls[method]
}

// match says whether an address, as it came, is one of the route's, and what it has for {id} and {path}: each its decoded bytes, not empty.
// It is taken apart before it is decoded, and fasthttp's own view of it, without dots and doubled slashes, is never asked: what a client
// put in an id's place, "..%2Fexecutions%2Fa", is no other route's address.
func (r *route) match(address string) (id, path string, ok bool) {
	parts := strings.Split(address, "/")
	pattern := strings.Split(r.path, "/")
	for i, want := range pattern {
		if i >= len(parts) {
			return "", "", false
		}
		got := decode(parts[i])
		switch want {
		case "{id}":
			id = got
			ok = isPart(id)
		case "{path}": // the last; an encoded slash in it is one like the others
			path = decode(strings.Join(parts[i:], "/"))
			return id, path, !slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool { return !isPart(part) })
		default:
			ok = got == want
		}
		if !ok {
			return "", "", false
		}
	}
	return id, path, len(parts) == len(pattern)
}

// isPart says whether one part of an address names something.
func isPart(s string) bool { return s != "" && s != "." && s != ".." && !strings.Contains(s, "/") }

// decode leaves what is no encoding as it is.
func decode(s string) string {
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	return s
}

// dispatch finds the route.
func (s *server) dispatch(c *call) *apiError {
	address := string(c.ctx.URI().PathOriginal())
	if p := s.pages[address]; p != nil {
		return s.serveRoute(c, &route{path: address, keyless: true, calls: calls{get: func(s *server, c *call) *apiError { return s.page(c, p) }}})
	}
	for i := range routes {
		if id, path, ok := routes[i].match(address); ok {
			c.target, c.file = id, path
			return s.serveRoute(c, &routes[i])
		}
	}
	return refuse(errNotFound, "there is nothing at %s: GET /openapi.json lists what there is; no path ends in a slash or has an empty part, . or .., and no id has a slash", shown(address))
}

// serveRoute goes through what all routes have in common: method, then key.
func (s *server) serveRoute(c *call, r *route) *apiError {
	c.route = r.path
	serve := r.find(c.method)
	if serve == nil {
		c.ctx.Response.Header.Set(fasthttp.HeaderAllow, r.allow())
		if c.method != fasthttp.MethodOptions {
			return refuse(errMethod, "%s is not allowed here, want %s", shown(c.method), r.allow())
		}
		c.ctx.SetStatusCode(fasthttp.StatusNoContent)
		return nil
	}
	if !r.keyless {
		if err := s.authenticate(c); err != nil {
			return err
		}
		if c.ctx.RequestBodyStream() == nil { // else who reads the body says so
			if err := c.arrived(); err != nil {
				return err
			}
		}
	}
	return serve(s, c)
}
