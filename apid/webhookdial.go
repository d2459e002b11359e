package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
)

// Callers choose where webhooks go, and apid stands in the operator's network: it must not be made to knock at doors there. Two checks, and
// none relies on the other:
//
//	the name      must be one that the operator allowed, with its port          allows
//	the address   must be one of the public internet, whatever the name is      refusePrivate
//
// The second is made of the very address that the kernel is about to be asked to connect to, after all name resolution: a name that is public
// when it is looked at and private when it is used, as of a DNS server that rebinds, gains nothing.

// webhooksConfig says where callers may have results sent.
type webhooksConfig struct {
	Allow    []string `toml:"allow"`
	Private  bool     `toml:"private"`
	Attempts int      `toml:"attempts"`
	Backoff  duration `toml:"backoff"`
	Timeout  duration `toml:"timeout"`
	PerKey   int      `toml:"per_key"`
}

// allowedHost is an entry of the list: a name, "*." and a name, "*" or an address, and a port or not. In the first group the host.
var allowedHost = regexp.MustCompile(`^(\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$`)

// plainHost is a host of a URL that means the same to everybody who reads it. Names of other scripts have a form of these letters.
var plainHost = regexp.MustCompile(`^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|[0-9a-f]*:[0-9a-f:.]+)$`)

func (c *webhooksConfig) check() error {
	for _, entry := range c.Allow {
		if !allowedHost.MatchString(entry) {
			return fmt.Errorf("webhooks.allow: %q: want a host in lower case, such as hooks.example.com, *.example.com:8443 or [2001:db8::1]", entry)
		}
	}
	return nil
}

// allows looks a host up in the list. An entry without a port means that of the scheme.
func (c *webhooksConfig) allows(host, port, schemePort string) bool {
	for _, entry := range c.Allow {
		parts := allowedHost.FindStringSubmatch(entry)
		name, wanted := strings.Trim(parts[1], "[]"), parts[2]
		if wanted == "" {
			wanted = schemePort
		}
		domain, wild := strings.CutPrefix(name, "*")
		if port == wanted && (host == name || wild && strings.HasSuffix(host, domain)) {
			return true
		}
	}
	return false
}

// dialer connects without a proxy, whatever the environment says.
func (c *webhooksConfig) dialer() *net.Dialer {
	if c.Private {
		return &net.Dialer{}
	}
	return &net.Dialer{ControlContext: refusePrivate}
}

var errNotPublic = errors.New("not an address of the public internet")

// refusePrivate is called with each address just before the kernel is asked to connect to it.
func refusePrivate(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	if !isPublic(at.Addr()) {
		return fmt.Errorf("%s: %w", at.Addr(), errNotPublic)
	}
	return nil
}

// internet6 is what has been given out of IPv6. All else, such as loopback, fc00::/7, fe80::/10, multicast and the ways into IPv4 of
// NAT64 (64:ff9b::/96, RFC 6052), is not public.
var internet6 = netip.MustParsePrefix("2000::/3")

// notPublic are the blocks of IPv4, and of internet6, that IANA's registries of special addresses (RFC 6890) keep for something else.
var notPublic = prefixes(
	"0.0.0.0/8",        // this host: Linux connects it to itself
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carriers' NAT; metadata of Alibaba Cloud
	"127.0.0.0/8",      // loopback
	"169.254.0.0/16",   // link-local; metadata of most clouds
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocols
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // relays of 6to4
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, broadcast
	"168.63.129.16/32", // the host of a virtual machine of Azure: no block of IANA's, but no public door either
	"2001::/23",        // protocols; Teredo, which has an IPv4 address inside
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4, which has an IPv4 address inside
	"3fff::/20",        // documentation
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// isPublic says that an address is one of a host on the internet. One of IPv4 that is written as IPv6 is what it is to the kernel.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.Is6() && !internet6.Contains(a) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}
