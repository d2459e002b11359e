package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// isTerminal says whether a person sees what is written there.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

type colour string

// The eight that every terminal has, which its theme chooses.
const (
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

// paint colours a text of ours for a terminal, or as --color says. What programs wrote is never touched. https://no-color.org
func (a *app) paint(w io.Writer, c colour, text string) string {
	plain := os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !isTerminal(w)
	if a.color == "never" || a.color != "always" && plain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// colorFlag is --color: when lines of ours have colours.
type colorFlag string

func (c *colorFlag) Type() string   { return "WHEN" }
func (c *colorFlag) String() string { return string(*c) }

func (c *colorFlag) Set(s string) error {
	if s != "auto" && s != "always" && s != "never" {
		return errors.New("want auto, always or never")
	}
	*c = colorFlag(s)
	return nil
}

// progress is one line on a terminal that is written over, and gone in the end. Elsewhere it is nothing.
type progress struct {
	w  io.Writer // nil: no terminal
	mu sync.Mutex
}

func (a *app) progress(form outputForm) *progress {
	if form.json || form.quiet || !isTerminal(a.stderr) {
		return &progress{}
	}
	return &progress{w: a.stderr}
}

const eraseLine = "\r\x1b[K"

func (p *progress) show(format string, args ...any) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, eraseLine+format, args...)
}

// tick shows what is being waited for and how long, after the first second and until the returned function is called.
func (p *progress) tick(what string) (end func()) {
	if p.w == nil {
		return func() {}
	}
	began, done, ended := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				p.show("runtools: %s, %d s", what, int(time.Since(began).Seconds()))
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		p.show("")
	}
}
