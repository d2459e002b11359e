package sdk

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/client"
)

func TestGo(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	c, err := client.New(url, key)
	if err != nil {
		t.Fatal(err)
	}
	runtimes, err := c.Runtimes(ctx)
	if err != nil || len(runtimes) == 0 || runtimes[0].Language == "" || runtimes[0].Version == "" {
		t.Errorf("runtimes: %+v, %v", runtimes, err)
	}
	res, err := c.Execute(ctx, &client.Request{Language: "c", Code: "int main(void) { for (;;); }", RunTimeout: 500})
	if err != nil || res.Compile.Status != client.OK || res.Run.Status != client.TimeLimit || res.Run.LimitFired.Name != "run_timeout" {
		t.Errorf("endless: %+v, %v", res, err)
	}
	_, err = c.Execute(ctx, &client.Request{Language: "c", Code: "", RunTimeout: 900_000})
	if refused := new(client.Error); !errors.As(err, &refused) || refused.Field == "" || client.MayHaveRun(err) {
		t.Errorf("refused: %v", err)
	}
}

// Cancelling kills: see testdata/abort.py.
func TestGoCancel(t *testing.T) {
	all, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	c, err := client.New(url, key)
	if err != nil {
		t.Fatal(err)
	}
	session := c.Session("go-cancel")
	bash := func(ctx context.Context, code string) (string, error) {
		res, err := session.Execute(ctx, &client.Request{Language: "bash", Code: code})
		if err != nil {
			return "", err
		}
		return res.Run.Stdout, nil
	}
	if _, err := bash(all, "touch there"); err != nil {
		t.Fatal(err)
	}
	for wait, seen := 200*time.Millisecond, ""; seen != "yes\n"; wait *= 2 {
		ctx, cancel := context.WithTimeout(all, wait)
		defer cancel()
		if out, err := bash(ctx, "echo yes > began; sleep 250; echo lived > late"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("cancelled after %v: %q, %v", wait, out, err)
		}
		look, cancelLook := context.WithTimeout(all, 4*time.Minute) // less than the sleep
		defer cancelLook()
		if seen, err = bash(look, "cat began; ls late 2>/dev/null; true"); err != nil {
			t.Fatalf("the program lives on: %v", err)
		}
	}
	if existed, err := session.Delete(all); !existed || err != nil {
		t.Errorf("delete: %v, %v", existed, err)
	}
}

// A program in a session that is talked to: the session is its own until its end, and keeps what it left. One that is left is killed.
func TestGoInteractiveSession(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	c, err := client.New(url, key)
	if err != nil {
		t.Fatal(err)
	}
	session := c.Session("")
	x, err := session.Interactive(ctx, &client.Request{Language: "bash", Code: "read X; export X; echo got"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write([]byte("kept\n")); err != nil {
		t.Fatal(err)
	}
	for event, err := range x.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if event.Result != nil && event.Result.Run.Stdout != "got\n" {
			t.Errorf("%+v", event.Result)
		}
	}
	id, err := session.ID(ctx)
	if err != nil || id == "" {
		t.Fatalf("id %q, %v", id, err)
	}
	x, err = session.Interactive(ctx, &client.Request{Language: "bash", Code: "echo $X; sleep 250; echo lived > late"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for event, err := range x.Events() {
		if err != nil || string(event.Output) != "kept\n" {
			t.Fatalf("%+v, %v", event, err)
		}
		if info, err := session.Info(ctx); err != nil || !info.Busy {
			t.Errorf("while it runs: %+v, %v", info, err)
		}
		break
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	look, cancelLook := context.WithTimeout(ctx, 4*time.Minute) // less than the sleep
	defer cancelLook()
	res, err := session.Execute(look, &client.Request{Language: "bash", Code: "ls late 2>/dev/null; echo $X"})
	if err != nil || res.Run.Stdout != "kept\n" || res.SessionID != id {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := session.Interactive(ctx, &client.Request{Language: "bash", Code: "1", Repeat: 2}, nil); err == nil {
		t.Error("a repeated run in a session")
	}
}
