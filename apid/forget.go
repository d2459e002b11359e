package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// forgetter tells sandboxd which volumes are not needed any more, in batches and behind the answers: nobody waits for it.
type forgetter struct {
	client *wire.Client
	log    *slog.Logger

	mu      sync.Mutex
	pending []string
	kick    chan struct{}
}

const (
	forgetBatch   = 1000             // ids in one packet of wire.MaxPacket
	forgetTimeout = 10 * time.Second // for one batch
	forgetRetry   = time.Second      // while sandboxd is away
	// After a caller hung up, its job's packet may still be on the way, and would make the volume after it was forgotten.
	forgetAfterHangup = 5 * time.Second
)

func newForgetter(client *wire.Client, log *slog.Logger) *forgetter {
	return &forgetter{client: client, log: log, kick: make(chan struct{}, 1)}
}

func (f *forgetter) add(volumes ...string) {
	f.mu.Lock()
	f.pending = append(f.pending, volumes...)
	f.mu.Unlock()
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// addLater is add after forgetAfterHangup.
func (f *forgetter) addLater(volumes ...string) {
	time.AfterFunc(forgetAfterHangup, func() { f.add(volumes...) })
}

// run works until ctx ends.
func (f *forgetter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.kick:
		}
		for failures := 0; ; failures++ {
			err := f.flush(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			if failures == 0 { // once, not every second of an outage
				f.log.Warn("forget volumes; trying until sandboxd takes them", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(forgetRetry):
			}
		}
	}
}

// flush sends what is pending.
func (f *forgetter) flush(ctx context.Context) error {
	for {
		f.mu.Lock()
		batch := f.pending[:min(len(f.pending), forgetBatch)]
		f.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		bounded, cancel := context.WithTimeout(ctx, forgetTimeout)
		err := f.client.Forget(bounded, batch...)
		cancel()
		if err != nil {
			return err
		}
		f.mu.Lock()
		if f.pending = f.pending[len(batch):]; len(f.pending) == 0 {
			f.pending = nil // or the array would hold the most there ever were
		}
		f.mu.Unlock()
	}
}
