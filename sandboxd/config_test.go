package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestExampleShowsTheDefaults(t *testing.T) {
	example, err := loadConfig("sandboxd.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	if want := defaultConfig(); !reflect.DeepEqual(example, want) {
		t.Errorf("the example says\n%+v\nthe code says\n%+v", example, want)
	}
	text, err := os.ReadFile("sandboxd.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []reflect.Type{reflect.TypeFor[config](), reflect.TypeFor[seccompConfig]()} {
		for _, key := range reflect.VisibleFields(table) {
			name := key.Tag.Get("toml")
			if key.IsExported() && !strings.Contains(string(text), "\n"+name+" = ") && !strings.Contains(string(text), "\n["+name+"]\n") {
				t.Errorf("the example does not show %s", name)
			}
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":    {"sockte = '/x'", "sockte"},
		"wrong type":     {"max_jails = 'many'", "max_jails"},
		"bad duration":   {"drain = '10'", "drain"},
		"short":          {"volume_idle = '10ms'", "volume_idle is 10ms, must be 1s to 1000h0m0s"},
		"too often":      {"selftest_every = '1ms'", "selftest_every is 1ms, must be 0 for never, or 1s to"},
		"too little":     {"total_memory = 1000000", "total_memory is 1000000, must be 0, or memory_bytes, 536870912, at least"},
		"out of range":   {"cpu_weight = 0", "cpu_weight is 0, must be 1 to 10000"},
		"too many jails": {"max_jails = 4097", "max_jails"},
		"no mode":        {"[seccomp]\nmode = 'log'", `seccomp.mode is "log", must be "shadow" or "canary"`},
		"no share":       {"[seccomp]\nshare = 0.0", "seccomp.share is 0, must be above 0"},
		"more than all":  {"[seccomp]\nshare = 10.0", "seccomp.share is 10"},
		"unknown in it":  {"[seccomp]\ncanary = '/x'", "canary"},
		"negative pool":  {"[pools]\n'bash/run' = { floor_mib = -1 }", `pools."bash/run".floor_mib is -1, must be 0 to`},
		"upside down":    {"[pools]\n'bash/run' = { floor_mib = 2, ceiling_mib = 1 }", "above ceiling_mib"},
		"in jails":       {"[pools]\n'bash/run' = { floor = 2 }", "unknown key"},
		"negative quota": {"cpus_per_job = -1.0", "cpus_per_job"},
	} {
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		conf, err := loadConfig(path)
		if err == nil {
			err = conf.validate()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestTemplatesOfTheRepository(t *testing.T) {
	paths, err := filepath.Glob("../rootfs/*/jail.json")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	templates := map[string]*template{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		specs, err := parseTemplates(data)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for name, spec := range specs {
			folder := filepath.Base(filepath.Dir(path))
			templates[folder+"/"+name] = &template{name: folder + "/" + name, spec: spec}
		}
	}
	c := defaultConfig()
	c.Profiles = "../seccomp-profiles"
	if _, err := loadPolicy(&c, templates); err != nil {
		t.Error(err)
	}
}

func TestParseTemplates(t *testing.T) {
	specs, err := parseTemplates([]byte(`{"templates": {"run": {"pids": 7}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := defaultTemplate
	want.PoolMax = poolMax
	want.Pids = 7
	if specs["run"] != want {
		t.Errorf("got %+v, want the defaults and pids 7", specs["run"])
	}
	for name, c := range map[string]struct{ text, want string }{
		"unknown field": {`{"templates": {"run": {"pid": 7}}}`, `template "run": json: unknown field "pid"`},
		"outer field":   {`{"template": {}}`, "unknown field"},
		"empty":         {`{"templates": {}}`, "empty"},
		"bounds":        {`{"templates": {"run": {"pids": 0}}}`, "pids is 0, must be 1 to 32768"},
		"then nothing":  {`{"templates": {"compile": {"then": "run"}}}`, `no template "run"`},
		"then itself":   {`{"templates": {"run": {"then": "run"}}}`, "neither then nor parked"},
		"idle runtime":  {`{"templates": {"run": {"parked": {"argv": ["/x"], "when_idle": true}}}}`, "when_idle is for a compiler"},
		"idle on miss":  {`{"templates": {"run": {"parked": {"argv": ["/x"], "again": true, "on_miss": true, "when_idle": true}}}}`, "not beside on_miss"},
		"then parked":   {`{"templates": {"compile": {"then": "run"}, "run": {"parked": {"argv": ["/x"]}}}}`, "neither then nor parked"},
		"then, parked":  {`{"templates": {"compile": {"then": "run", "parked": {"argv": ["/x"]}}, "run": {}}}`, `template "run" has another parked: give both the same values`},
		"then unlike":   {`{"templates": {"compile": {"then": "run", "pids": 65, "tmp_files": 9}, "run": {}}}`, "another pids, tmp_files: "},
		"then alone":    {`{"templates": {"compile": {"then": "run", "pids": 1}, "run": {"pids": 1}}}`, "pids must be 2"},
		"then freer":    {`{"templates": {"compile": {"then": "run", "seccomp": "ruby"}, "run": {}}}`, "another seccomp: "},
		"trailing":      {`{"templates": {"run": {}}} x`, "after the object"},
	} {
		if _, err := parseTemplates([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestProfileNameIsNoPath(t *testing.T) {
	for _, name := range []string{"", "../base", "/etc/passwd", "a/b"} {
		if _, err := findProfile("../seccomp-profiles", name, "toy"); err == nil {
			t.Errorf("%q was loaded as a profile", name)
		}
	}
}

func TestKernelVersion(t *testing.T) {
	for release, want := range map[string][2]int{"6.18.44-fc": {6, 18}, "6.3-rc1": {6, 3}, "5.15": {5, 15}, "6.1.0+": {6, 1}, "": {0, 0}} {
		major, minor := kernelVersion(release)
		if ([2]int{major, minor}) != want {
			t.Errorf("%q: %d.%d, want %v", release, major, minor, want)
		}
	}
}

func FuzzParseTemplates(f *testing.F) {
	f.Add([]byte(`{"templates": {"run": {"seccomp": "base", "pool": 2, "pids": 64}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		specs, err := parseTemplates(data)
		if err != nil {
			return
		}
		for _, s := range specs {
			if err := s.validate(); err != nil {
				t.Errorf("accepted: %v", err)
			}
		}
	})
}
