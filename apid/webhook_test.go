package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of the examples of the standard

func TestPublicAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.15.255.255": true, "172.32.0.1": true, "100.63.255.255": true, "100.128.0.0": true, "223.255.255.255": true,
		"2606:4700::1111": true, "2a00:1450:4001::200e": true, "2001:4860:4860::8888": true, "::ffff:8.8.8.8": true,
		"0.0.0.0": false, "0.1.2.3": false, "127.0.0.1": false, "127.255.255.254": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "100.100.100.200": false, "100.127.255.255": false, "168.63.129.16": false,
		"192.0.0.1": false, "192.0.2.1": false, "192.88.99.1": false, "198.18.0.1": false, "198.19.255.255": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "100::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:0.0.0.0": false, "::ffff:7f00:1": false,
		"::127.0.0.1": false, "::10.0.0.1": false, "::8.8.8.8": false, "64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false,
		"2002:7f00:1::": false, "2002:a00:1::1": false, "2001::1": false, "2001:0:4136:e378:8000:63bf:3fff:fdd2": false, "2001:db8::1": false, "3fff::1": false,
		"5f00::1": false, "4000::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
		err := refusePrivate(context.Background(), "tcp", net.JoinHostPort(address, "443"), nil)
		if (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
	if isPublic(netip.Addr{}) {
		t.Error("no address is public")
	}
	if refusePrivate(context.Background(), "tcp", "localhost:80", nil) == nil {
		t.Error("a name is public")
	}
}

func TestWebhookIsAllowed(t *testing.T) {
	strict := webhooksConfig{Allow: []string{"hooks.example.com", "*.example.org", "other.example:8443", "[2606:4700::1]", "1.2.3.4"}}
	private := webhooksConfig{Allow: []string{"10.0.0.1:8080", "*"}, Private: true}
	for _, c := range []struct {
		cfg         *webhooksConfig
		url, secret string
		field       string // "": it is allowed
	}{
		{&strict, "https://hooks.example.com", testSecret, ""},
		{&strict, "https://HOOKS.example.com.:443/a?b=c", testSecret, ""},
		{&strict, "https://a.b.example.org/", testSecret, ""},
		{&strict, "https://other.example:8443/", testSecret, ""},
		{&strict, "https://[2606:4700::1]/", testSecret, ""},
		{&strict, "https://1.2.3.4/", testSecret, ""},
		{&strict, "https://hooks.example.com:8443/", testSecret, "webhook.url"},
		{&strict, "https://other.example/", testSecret, "webhook.url"},
		{&strict, "https://example.org/", testSecret, "webhook.url"},
		{&strict, "https://xexample.org/", testSecret, "webhook.url"},
		{&strict, "https://hooks.example.com.evil.example/", testSecret, "webhook.url"},
		{&strict, "https://evil.example/hooks.example.com", testSecret, "webhook.url"},
		{&strict, "https://hooks.example.com@evil.example/", testSecret, "webhook.url"},
		{&strict, "https://user@hooks.example.com/", testSecret, "webhook.url"},
		{&strict, "https://hooks.example.com/#x", testSecret, "webhook.url"},
		{&strict, "https://evil.example\\@hooks.example.com/", testSecret, "webhook.url"},
		{&strict, "https://hooks.example.com/?a HTTP/1.1\r\nX: y", testSecret, "webhook.url"},
		{&strict, "https://hooks.example.com/?a b", testSecret, "webhook.url"},
		{&strict, "https://h\u00f6oks.example.org/", testSecret, "webhook.url"},
		{&strict, "https://a%E2%80%8B.example.org/", testSecret, "webhook.url"},
		{&strict, "https://[fe80::1%25eth0]/", testSecret, "webhook.url"},
		{&strict, "https:///x", testSecret, "webhook.url"},
		{&strict, "https:hooks.example.com", testSecret, "webhook.url"},
		{&strict, "http://hooks.example.com/", testSecret, "webhook.url"},
		{&strict, "gopher://hooks.example.com/", testSecret, "webhook.url"},
		{&strict, "//hooks.example.com/", testSecret, "webhook.url"},
		{&strict, "", testSecret, "webhook.url"},
		{&strict, "https://hooks.example.com/" + strings.Repeat("x", 2048), testSecret, "webhook.url"},
		{&private, "http://10.0.0.1:8080/", testSecret, ""},
		{&private, "http://anything.example/", testSecret, ""},
		{&private, "http://anything.example:81/", testSecret, "webhook.url"},
		{&private, "ftp://anything.example/", testSecret, "webhook.url"},
		{&strict, "https://hooks.example.com", "", "webhook.secret"},
		{&strict, "https://hooks.example.com", "whsec_", "webhook.secret"},
		{&strict, "https://hooks.example.com", strings.TrimPrefix(testSecret, "whsec_"), "webhook.secret"},
		{&strict, "https://hooks.example.com", "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)), "webhook.secret"},
		{&strict, "https://hooks.example.com", "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)), "webhook.secret"},
		{&strict, "https://hooks.example.com", testSecret + "!", "webhook.secret"},
		{&webhooksConfig{}, "https://hooks.example.com", testSecret, "webhook"},
	} {
		got := ""
		w, err := newWebhook(&requestWebhook{c.url, c.secret}, c.cfg)
		if err != nil {
			got = err.field
		} else if w.status != "pending" {
			t.Errorf("%s: %+v", c.url, w)
		}
		if got != c.field {
			t.Errorf("%s %q: %v, want field %q", c.url, c.secret, err, c.field)
		}
	}
}

// delivery is a request that a receiver got.
type delivery struct {
	header http.Header
	path   string
	body   string
}

// verify is the standard's, on its own: no code of ours.
func (d *delivery) verify(t *testing.T, secret string) {
	t.Helper()
	id, timestamp := d.header.Get("webhook-id"), d.header.Get("webhook-timestamp")
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, id+"."+timestamp+"."+d.body)
	if got, want := d.header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age < -5*time.Minute || age > 5*time.Minute {
		t.Errorf("timestamp %q", timestamp)
	}
}

// receiver answers with one status after the other, the last again and again, and keeps what it got.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	got      []delivery
}

func startReceiver(t *testing.T, start func(http.Handler) *httptest.Server, statuses ...int) *receiver {
	r := &receiver{statuses: statuses}
	r.Server = start(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, delivery{q.Header, q.Method + " " + q.Host + q.RequestURI, string(body)})
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(r.statuses[0])
		io.WriteString(w, "internal secret")
		if len(r.statuses) > 1 {
			r.statuses = r.statuses[1:]
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) deliveries() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery(nil), r.got...)
}

// hooked asks for an execution with a webhook.
func (ts *testServer) hooked(url string, line string) asyncAnswer {
	ts.t.Helper()
	e := ts.async(ts.key, "POST", "", with(python(line), "webhook", map[string]string{"url": url, "secret": testSecret}), 202)
	if e.Webhook == nil {
		ts.t.Fatalf("got %+v", e)
	}
	return e
}

// settled waits for the end of a delivery.
func (ts *testServer) settled(e asyncAnswer) (got asyncAnswer) {
	ts.t.Helper()
	eventually(ts.t, "the webhook is settled", func() bool {
		got = ts.async(ts.key, "GET", "/"+e.ID, nil, 200)
		return got.Webhook.Status != "pending"
	})
	return got
}

func TestWebhooks(t *testing.T) {
	for name, c := range map[string]struct {
		statuses []int
		line     string
		want     webhookState
	}{
		"delivered":        {[]int{204}, "print 1", webhookState{"delivered", 1, ""}},
		"failed program":   {[]int{200}, "fail internal", webhookState{"delivered", 1, ""}},
		"again after 5xx":  {[]int{500, 429, 200}, "print 1", webhookState{"delivered", 3, ""}},
		"no more attempts": {[]int{503}, "print 1", webhookState{"failed", 3, "the host answered with status 503"}},
		"no redirects":     {[]int{307}, "print 1", webhookState{"failed", 1, "the host answered with status 307"}},
		"refused":          {[]int{410}, "print 1", webhookState{"failed", 1, "the host answered with status 410"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := startReceiver(t, httptest.NewServer, c.statuses...)
			ts := newTestServer(t, hookTo(r.Listener.Addr().String()))
			e := ts.settled(ts.hooked(r.URL+"/a%20b?c=d", c.line))
			if *e.Webhook != c.want {
				t.Errorf("got %+v, want %+v", *e.Webhook, c.want)
			}
			got := r.deliveries()
			if len(got) != c.want.Attempts {
				t.Fatalf("%d deliveries, want %d", len(got), c.want.Attempts)
			}
			asked := ts.do("GET", "/v1/executions/"+e.ID, "").Raw
			start := strings.Index(asked, `,"webhook":{`)
			end := start + strings.Index(asked[start:], "}") + 1
			for _, d := range got {
				d.verify(t, testSecret)
				if d.path != "POST "+r.Listener.Addr().String()+"/a%20b?c=d" || d.header.Get("webhook-id") != e.ID || d.header.Get("Content-Type") != "application/json" {
					t.Errorf("got %+v", d)
				}
				if want := asked[:start] + asked[end:]; d.body != want {
					t.Errorf("sent %q, want what GET tells, without webhook: %q", d.body, want)
				}
			}
			for _, secret := range []string{testSecret, strings.TrimPrefix(testSecret, "whsec_"), "internal secret"} {
				if strings.Contains(asked, secret) || strings.Contains(ts.log.String(), secret) {
					t.Errorf("%s is told in %s or the log", secret, asked)
				}
			}
			eventually(t, "nothing is left", func() bool { return ts.conversations.Load() == 0 && len(ts.webhooks.sending) == 0 })
		})
	}
}

// hookTo allows one receiver on this machine.
func hookTo(address string) func(*config) {
	return func(c *config) {
		c.Webhooks = webhooksConfig{Allow: []string{address}, Private: true, Attempts: 3, Backoff: duration(time.Millisecond), Timeout: duration(time.Minute), PerKey: 2}
	}
}

func TestWebhookRefused(t *testing.T) {
	ts := newTestServer(t, nil)
	hook := map[string]string{"url": "https://example.com/", "secret": testSecret}
	off := ts.async(ts.key, "POST", "", with(python("print 1"), "webhook", hook), 400)
	if off.Error == nil || !strings.Contains(off.Error.Message, "webhooks.allow in apid.toml") {
		t.Errorf("got %+v", off)
	}
	if got := ts.refused(with(python("print 1"), "webhook", hook), errInvalidField); got.Error.Field != "webhook" {
		t.Errorf("got %+v", got.Error)
	}
	ts.async(ts.key, "POST", "", with(python("print 1"), "webhook", map[string]string{"uri": "x"}), 400)
	ts.async(ts.key, "POST", "", with(python("print 1"), "pty", map[string]int{}), 400)
	ts.async(ts.key, "POST", "", with(python("print 1"), "webhook", nil), 202)
}

// Nothing at a private address is connected to, though its name is on the list.
func TestWebhookStaysOutside(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	connected := make(chan struct{}, 8)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			connected <- struct{}{}
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ts := newTestServer(t, func(c *config) {
		hookTo("")(c)
		c.Webhooks.Private, c.Webhooks.Allow = false, nil
		for _, host := range []string{"localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0"} {
			c.Webhooks.Allow = append(c.Webhooks.Allow, host+":"+port)
		}
	})
	for _, allowed := range ts.cfg.Webhooks.Allow {
		e := ts.settled(ts.hooked("https://"+allowed+"/", "print 1"))
		if want := (webhookState{"failed", 1, "the host is not at a public address"}); *e.Webhook != want {
			t.Errorf("%s: got %+v", allowed, *e.Webhook)
		}
	}
	select {
	case <-connected:
		t.Error("there was a connection")
	default:
	}
}

// Certificates are checked, and nobody answering is tried again.
func TestWebhookTLS(t *testing.T) {
	r := startReceiver(t, httptest.NewTLSServer, 200)
	ts := newTestServer(t, hookTo(r.Listener.Addr().String()))
	e := ts.settled(ts.hooked(r.URL, "print 1"))
	if e.Webhook.Status != "failed" || e.Webhook.Attempts != 3 || !strings.HasPrefix(e.Webhook.LastError, "no TLS connection") || len(r.deliveries()) != 0 {
		t.Errorf("got %+v", *e.Webhook)
	}
	ts.webhooks.roots = x509.NewCertPool()
	ts.webhooks.roots.AddCert(r.Certificate())
	if e := ts.settled(ts.hooked(r.URL, "print 1")); e.Webhook.Status != "delivered" {
		t.Errorf("got %+v", *e.Webhook)
	}
	for _, d := range r.deliveries() {
		d.verify(t, testSecret)
	}
	r.Close()
	if e := ts.settled(ts.hooked(r.URL, "print 1")); e.Webhook.Status != "failed" || e.Webhook.Attempts != 3 || e.Webhook.LastError != "no connection to the host" {
		t.Errorf("got %+v", *e.Webhook)
	}
}

// A receiver that never answers has a share of the connections and no more; what is deleted is not sent any longer.
func TestWebhookReceiverHangs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	closed := make(chan error, 8)
	var mu sync.Mutex
	open := 0
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open++
			mu.Unlock()
			go func() {
				defer c.Close()
				_, err := io.Copy(io.Discard, c)
				closed <- err
			}()
		}
	}()
	ts := newTestServer(t, hookTo(ln.Addr().String()))
	var all []asyncAnswer
	for i := range 4 {
		all = append(all, ts.hooked("http://"+ln.Addr().String(), fmt.Sprint("print ", i)))
		ts.async(ts.key, "GET", "/"+all[i].ID+"?wait=30", nil, 200)
	}
	eventually(t, "two are being sent", func() bool { mu.Lock(); defer mu.Unlock(); return open == 2 })
	time.Sleep(100 * time.Millisecond) // for one that should not come
	mu.Lock()
	if open != 2 {
		t.Errorf("%d connections at one time, want 2", open)
	}
	mu.Unlock()
	for _, e := range all {
		ts.async(ts.key, "DELETE", "/"+e.ID, nil, 204)
	}
	eventually(t, "nothing is left", func() bool { return ts.conversations.Load() == 0 && len(ts.webhooks.sending) == 0 })
	mu.Lock()
	defer mu.Unlock()
	for range open {
		<-closed
	}
}
