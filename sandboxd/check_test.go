package main

import (
	"os"
	"strings"
	"testing"
)

func TestCheckNamesAFilesystemThatTheKernelLacks(t *testing.T) {
	if p := needFilesystem("overlay"); p != "" {
		t.Error(p)
	}
	if p := needFilesystem("nonesuch"); os.Geteuid() == 0 && !strings.Contains(p, "modprobe nonesuch") {
		t.Errorf("%q", p)
	}
}

// Each missing thing is one line that says what to do.
func TestCheckNamesWhatIsMissing(t *testing.T) {
	good := defaultConfig()
	good.Image, good.Profiles, good.User = t.TempDir(), "../seccomp-profiles", "0"
	shut := t.TempDir()
	if err := os.Chmod(shut, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*config)
		want   []string
	}{
		"image":       {func(*config) {}, []string{"image: ", "make rootfs"}},
		"profiles":    {func(c *config) { c.Profiles = "/none" }, []string{"profiles: ", "seccomp-profiles"}},
		"no packages": {func(c *config) { c.Packages = "/none" }, []string{"packages: ", "scripts/packages"}},
		"shut off":    {func(c *config) { c.Packages = shut }, []string{"packages: ", "chmod -R a+rX"}},
		"old image":   {func(c *config) { c.Packages = "/usr" }, []string{"packages: ", "make rootfs"}},
		"user":        {func(c *config) { c.User = "no-such-user" }, []string{"user: ", "useradd"}},
		"descriptors": {func(c *config) { c.MaxJails = 10_000_000 }, []string{"descriptors: ", "LimitNOFILE"}},
	} {
		t.Run(name, func(t *testing.T) {
			conf := good
			c.change(&conf)
			found := false
			for _, problem := range checkHost(&conf) {
				if strings.Contains(problem, "\n") {
					t.Errorf("more than one line: %q", problem)
				}
				found = found || strings.HasPrefix(problem, c.want[0]) && strings.Contains(problem, c.want[1])
			}
			if !found {
				t.Errorf("no line with %q in %q", c.want, checkHost(&conf))
			}
		})
	}
}
