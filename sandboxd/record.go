package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/runtools/runtools/pkg/seccomp"
)

// recorder lets all that a profile allows pass, and remembers which calls each language made. In its place a filter that hands calls over
// costs 10 to 30 us a call, which strace costs as well; but it sees every process of a jail from its first instruction, needs no parent
// and no ptrace, which programs can see and the profile forbids. SECCOMP_RET_LOG costs a tenth, and tells neither language nor arguments,
// and the audit log drops lines when there are many.
type recorder struct {
	dir string

	mu   sync.Mutex
	uses map[string]*seccomp.Use // by language
}

// answer does for a recorded jail what denials.answer does for others.
func (r *recorder) answer(l *seccomp.Listener, f *seccomp.Filter, template string, log *slog.Logger) {
	language, stage, _ := strings.Cut(template, "/")
	for {
		c, err := l.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				log.Error("record", "template", template, "error", err)
			}
			return
		}
		allowed := f.Allows(c)
		r.see(language, func(u *seccomp.Use) {
			u.See(c, !allowed, stage, func() string { text, _ := l.Describe(c); return text })
		})
		if allowed {
			err = l.Continue(c)
		} else {
			err = l.Answer(c, f.Errno(c))
		}
		if err != nil {
			log.Error("record", "template", template, "syscall", c.Name(), "error", err)
		}
	}
}

// job counts a job.
func (r *recorder) job(template string) {
	language, _, _ := strings.Cut(template, "/")
	r.see(language, func(u *seccomp.Use) { u.Jobs++ })
}

func (r *recorder) see(language string, what func(*seccomp.Use)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses[language] == nil {
		r.uses[language] = &seccomp.Use{Language: language, Calls: map[string]seccomp.Called{}}
	}
	what(r.uses[language])
}

// write adds what was seen to the files of dir.
func (r *recorder) write() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, u := range r.uses {
		errs = append(errs, seccomp.WriteUse(r.dir, u))
	}
	return errors.Join(errs...)
}
