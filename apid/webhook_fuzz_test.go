package main

import (
	"bufio"
	"bytes"
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// Whatever URL a caller gives, the request goes to a host and a port of the list, by TLS, and is one request with our headers alone, as another HTTP
// implementation reads it.
func FuzzWebhook(f *testing.F) {
	for _, seed := range []string{
		"https://hooks.example.com/a?b=c", "https://A.b.example.org.:443", "https://[2606:4700::1]/", "https://other.example:8443/%0d%0aX:%20y", "http://hooks.example.com/",
		"https://hooks.example.com@evil.example/", "https://evil.example\\@hooks.example.com/", "https://hooks.example.com/?a HTTP/1.1\r\nX: y", "https:hooks.example.com",
	} {
		f.Add(seed)
	}
	cfg := &webhooksConfig{Allow: []string{"hooks.example.com", "*.example.org", "other.example:8443", "[2606:4700::1]"}}
	f.Fuzz(func(t *testing.T, asked string) {
		w, refused := newWebhook(&requestWebhook{asked, testSecret}, cfg)
		if refused != nil {
			return
		}
		switch w.address {
		case "hooks.example.com:443", "other.example:8443", "[2606:4700::1]:443":
		default:
			if !strings.HasSuffix(w.address, ".example.org:443") || strings.ContainsAny(w.address, "/@\\ #?") {
				t.Fatalf("%q is sent to %q", asked, w.address)
			}
		}
		if u, err := url.Parse(asked); err != nil || u.Scheme != "https" || u.User != nil {
			t.Fatalf("%q: %v %v", asked, u, err)
		}
		var sent bytes.Buffer
		if err := w.write(&sent, &asyncExecution{executionKey: executionKey{id: "id"}, body: []byte(`{"a":1}`)}); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(&sent)
		r, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatalf("%q makes %v", asked, err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(r.Body); err != nil || body.String() != `{"a":1}` || reader.Buffered() > 0 {
			t.Fatalf("%q: a body of %q, %v, and %d bytes more", asked, body.String(), err, reader.Buffered())
		}
		host, port := (&url.URL{Host: r.Host}).Hostname(), cmp.Or((&url.URL{Host: r.Host}).Port(), "443")
		if to := net.JoinHostPort(strings.TrimSuffix(strings.ToLower(host), "."), port); r.Method != "POST" || len(r.Header) != 7 || to != w.address {
			t.Fatalf("%q: %s %q %v", asked, r.Method, r.Host, r.Header)
		}
	})
}

// An address that is connected to is none of those that the standard library knows for something else than the internet, in whatever way it is written.
func FuzzPublicAddress(f *testing.F) {
	for _, seed := range []string{"8.8.8.8:443", "127.0.0.1:443", "[::ffff:10.0.0.1]:443", "[fe80::1%eth0]:1", "[64:ff9b::7f00:1]:443", "[2001::1]:443", "localhost:80", "[::]:0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if refusePrivate(t.Context(), "tcp", address, nil) != nil {
			return
		}
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			t.Fatalf("%q is no address", address)
		}
		for _, a := range []netip.Addr{at.Addr(), at.Addr().Unmap()} {
			if a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.IsInterfaceLocalMulticast() || !a.Unmap().IsGlobalUnicast() {
				t.Fatalf("%s is connected to", address)
			}
		}
	})
}
