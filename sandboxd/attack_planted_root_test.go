package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// planted is what attacks look for on the host: a secret, in a file that everybody may read and in the environment of sandboxd, and doors that stand open to
// everybody there. None is met by chance, and without them an attack would find nothing where nothing is.
type planted struct {
	path, secret string
	port         int    // of the host's loopback, of both versions of IP
	socket       string // sandboxd's own
}

func plantSecret(t *testing.T) planted {
	t.Helper()
	p := planted{secret: "secret" + rand.Text(), socket: filepath.Join(t.TempDir(), "s.sock")}
	f, err := os.CreateTemp("", "runtools-planted-")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.path = f.Name()
	t.Cleanup(func() { os.Remove(p.path) })
	_, err = f.WriteString(p.secret)
	if err = errors.Join(err, f.Chmod(0o644)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RUNTOOLS_SECRET", p.secret)
	for kind, name := range map[string]string{"unix": ".stream", "unixpacket": ".packet"} {
		openDoor(t, kind, p.path+name)
		openDoor(t, kind, "@"+p.path+name)
		if err := os.Chmod(p.path+name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for { // one port of both: what is free on one may be taken on the other
		v4 := openDoor(t, "tcp4", "127.0.0.1:0")
		p.port = v4.Addr().(*net.TCPAddr).Port
		v6, err := net.Listen("tcp6", fmt.Sprint("[::1]:", p.port))
		if err == nil {
			t.Cleanup(func() { v6.Close() })
			return p
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Fatal(err)
		}
		v4.Close()
	}
}

// openDoor opens a door. Nobody needs to accept: the kernel connects who comes.
func openDoor(t *testing.T, kind, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(kind, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// words are what stands for it in attacks.
func (p planted) words() *strings.Replacer {
	return strings.NewReplacer("PLANTED_PORT", strconv.Itoa(p.port), "PLANTED", p.path, "SANDBOXD_SOCKET", p.socket)
}
