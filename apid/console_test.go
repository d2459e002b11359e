package main

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A signal passes input that its program does not read: up to a bound, and as long as the key has memory.
func TestSignalsPassUnreadInput(t *testing.T) {
	for name, c := range map[string]struct {
		memory int64
		waits  bool // until the program reads
	}{
		"memory":    {64 << 20, false},
		"no memory": {512 << 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			bodies := newBodyBudget(c.memory, 1)
			console := newConsole(newStream(appendMessage, mostUnsent), bodies, "k", nil)
			const sent = inputWindow + 4<<20
			go func() {
				for range sent / inputWindow {
					console.write(make([]byte, inputWindow))
				}
				console.signal(unix.SIGINT)
				console.closeInput()
			}()
			if c.waits {
				eventually(t, "the window is full", func() bool { console.mu.Lock(); defer console.mu.Unlock(); return len(console.input) >= inputWindow })
			} else {
				select {
				case <-console.signals:
				case <-time.After(time.Minute):
					t.Fatal("the signal waits for the program to read")
				}
				if held := bodies.held(); held < sent-2*inputWindow {
					t.Errorf("%d bytes are counted of %d", held, sent)
				}
			}
			read := 0
			for data := console.take(); data != nil; data = console.take() {
				if read += len(data); len(data) > inputWindow {
					t.Errorf("%d bytes at one time", len(data))
				}
			}
			if held := bodies.held(); read != sent || held != 0 {
				t.Errorf("the program read %d bytes of %d; %d are still counted", read, sent, held)
			}
		})
	}
}

// What a program left unread is not counted when it has ended.
func TestUnreadInputEnds(t *testing.T) {
	bodies := newBodyBudget(64<<20, 1)
	console := newConsole(newStream(appendMessage, mostUnsent), bodies, "k", nil)
	for range 3 {
		console.write(make([]byte, inputWindow))
	}
	if bodies.held() == 0 {
		t.Error("nothing is counted")
	}
	console.end()
	console.write(make([]byte, inputWindow))
	if held := bodies.held(); held != 0 {
		t.Errorf("%d bytes are still counted", held)
	}
}
