package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keep asks by one of the ways that are open for as long as the program runs. What is not answered is cut off, and nothing else comes.
func (l *load) keep(ctx context.Context, way string, once func(request) (string, error)) {
	for ctx.Err() == nil {
		stdout, err := once(program("bash", "echo begun; read -t 9 x; echo x").with(request{"ephemeral": true}))
		var timeout net.Error
		switch {
		case err == nil && stdout == "begun\nx\n":
			l.good.Add(1)
			continue
		case err == nil:
			l.t.Errorf("%s: %q", way, stdout)
		case errors.Is(err, errWrong) || errors.As(err, &timeout) && timeout.Timeout():
			l.t.Errorf("%s: %v", way, err)
		case errors.Is(err, errEnded): // we killed it
			l.hit.Add(1)
		}
		l.bad.Add(1)
		time.Sleep(20 * time.Millisecond)
	}
}

// execution runs a program without a connection, and asks until it has ended. They are forgotten with apid, and not before.
func (l *load) execution(q request) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	apids := l.apids.Load()
	ask := func(method, path string, body any) (e execution, err error) {
		response, content, err := l.send(ctx, l.key, method, "/v1/executions"+path, body)
		switch {
		case err != nil:
			return e, err
		case response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "":
			return e, errRefused
		case response.StatusCode == http.StatusNotFound && method == http.MethodGet && (apids%2 == 1 || l.apids.Load() != apids):
			return e, errClosed
		case response.StatusCode >= 300:
			return e, fmt.Errorf("%w: %s: %s", errWrong, response.Status, content)
		}
		return e, strict(content, &e)
	}
	e, err := ask(http.MethodPost, "", q)
	if err != nil {
		return "", err
	}
	for id := e.ID; ; {
		e, err := ask(http.MethodGet, "/"+id+"?wait=10", nil)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case errors.Is(err, errWrong) || errors.Is(err, errClosed):
			return "", err
		case err != nil: // apid is away
			time.Sleep(20 * time.Millisecond)
		case e.Status == "failed":
			content, _ := json.Marshal(map[string]any{"error": e.Error})
			return "", refusedOr(content)
		case e.Status == "done" && e.Result.Run.Status != "OK":
			return "", errEnded
		case e.Status == "done":
			return e.Result.Run.Stdout, nil
		}
	}
}

// wantNetworks fails if the stack holds more network namespaces than its jails have, those that wait for one, and the host's.
func (s *stack) wantNetworks(t *testing.T) {
	t.Helper()
	const ready = 16 + 1 // networks of sandboxd.toml, and the one that is being made
	if err := eventually("network namespaces are gone", func() error {
		sums, err := s.metricSums("runtools_jails_live")
		if err != nil {
			return err
		}
		held := s.networks()
		if most := sums[0] + ready + 1; len(held) < sums[0] || len(held) > most {
			return fmt.Errorf("%d network namespaces, of %d jails, at most %d are accounted for", len(held), sums[0], most)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// networks are the network namespaces that the stack's processes are in or have open.
func (s *stack) networks() map[string]bool {
	held := map[string]bool{}
	for _, pid := range append(processes("cgroup", s.cgroup), processes("environ", "E2E_STACK="+s.cgroup)...) {
		places, _ := filepath.Glob("/proc/" + pid + "/task/*/ns/net")
		files, _ := filepath.Glob("/proc/" + pid + "/fd/*")
		for _, place := range append(places, files...) {
			if to, err := os.Readlink(place); err == nil && strings.HasPrefix(to, "net:[") {
				held[to] = true
			}
		}
	}
	return held
}
