package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestExampleIsTheDefaults(t *testing.T) {
	got, err := loadConfig("apid.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	if want := defaults(); !reflect.DeepEqual(*got, want) {
		t.Errorf("the example says\n%+v\nthe code\n%+v", *got, want)
	}
	// And it says everything: each key of the defaults is in it.
	body, _ := os.ReadFile("apid.example.toml")
	var example, all map[string]any
	encoded, err := toml.Marshal(defaults())
	if err != nil {
		t.Fatal(err)
	}
	if err := toml.Unmarshal(body, &example); err != nil {
		t.Fatal(err)
	}
	if err := toml.Unmarshal(encoded, &all); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, want, got map[string]any)
	compare = func(path string, want, got map[string]any) {
		for name, value := range want {
			if _, there := got[name]; !there {
				t.Errorf("%s%s is not in the example", path, name)
			} else if inner, ok := value.(map[string]any); ok {
				compare(path+name+".", inner, got[name].(map[string]any))
			}
		}
	}
	compare("", all, example)
	if err := got.complete(); err != nil {
		t.Error(err)
	}
}

func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		"listen = \"x\"\nlisten_on = 3":                          "line 2: unknown key \"listen_on\"",
		"[queue]\nmax_job = 3":                                   "line 2: unknown key \"queue.max_job\"",
		"[queue]\n\nmax_jobs = \"many\"":                         "line 3",
		"[http]\ndrain = \"soon\"":                               "line 2",
		"listen = ":                                              "line 1",
		"[limits]\nrun_timeout = { default = 10, max = 5 }":      "limits.run_timeout: default 10 is not between 1 and max 5",
		"[limits]\nrun_timeout = { default = 0, max = 5 }":       "limits.run_timeout",
		"[limits]\nrun_memory_limit = { default = 9, max = 99 }": "limits.run_memory_limit",
		"[queue]\nmax_jobs = -1":                                 "queue.max_jobs: -1 is below 1",
		"[http]\nmax_bodies_bytes = 1":                           "http.max_bodies_bytes: 1 is below http.max_body_bytes, which is 67108864",
		"[executions]\nmax_bytes = 1":                            "executions.max_bytes: 1 is below executions.max_bytes_per_key, which is 67108864",
		"[webhooks]\nallow = [\"a.example\", \"https://b\"]":     "webhooks.allow: \"https://b\"",
		"[http]\nread_timeout = '10us'":                          "http.read_timeout: 10µs is below 1ms",
		"[webhooks]\nattempts = 0":                               "webhooks.attempts: 0 is below 1",
		"[log]\nformat = \"xml\"":                                "log.format",
		"[log]\nlevel = \"loud\"":                                "log.level",
	} {
		path := filepath.Join(t.TempDir(), "apid.toml")
		os.WriteFile(path, []byte(text), 0o600)
		if _, err := settings([]string{"-config", path}, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestFlagsWin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apid.toml")
	os.WriteFile(path, []byte("listen = \"a\"\nkeys = \"k\"\n[queue]\ndepth = 7"), 0o600)
	cfg, err := settings([]string{"-config", path, "-listen", "b", "-metrics", "off", "-socket", "s", "-image", "i"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != "b" || cfg.Keys != "k" || cfg.MetricsListen != "off" || cfg.SandboxdSocket != "s" || cfg.Image != "i" || cfg.Queue.Depth != 7 || cfg.Queue.PerKey != 64 {
		t.Errorf("%+v", cfg)
	}
	if cfg.Queue.MaxJobs < 4 || cfg.Sessions.MaxBytes == 0 {
		t.Errorf("not completed: %+v", cfg)
	}
	for _, args := range [][]string{{"-nonsense"}, {"extra"}, {"-config", "/nowhere"}} {
		if _, err := settings(args, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
