package wire

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// A server that ends without having taken a connection has not begun what was sent on it: the request may be sent again.
func TestConnectionThatNobodyTook(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "s")
		listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(5*time.Millisecond, func() { listener.Close() })
		client := Client{Path: path}
		if _, err := client.Status(context.Background(), &StatusRequest{}); !errors.Is(err, ErrAway) {
			t.Fatalf("got %v, want %v", err, ErrAway)
		}
	}
}
