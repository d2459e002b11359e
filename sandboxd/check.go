package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
)

// minKernel is the first Linux whose tmpfs can be id-mapped; everything else we need is older (move_mount 5.2, close_range 5.9,
// mount_setattr 5.12, cgroup.kill 5.14, id-mapped layers of an overlay 5.19).
var minKernel = [2]int{6, 3}

// A requirement of the host. problem returns what is missing and the remedy, or "".
type requirement struct {
	name    string
	problem func(*config) string
}

var requirements = []requirement{
	{"root", needRoot},
	{"kernel", needKernel},
	{"cgroups", needCgroups},
	{"namespaces", needNamespaces},
	{"seccomp", needSeccomp},
	{"overlay", func(*config) string { return needFilesystem("overlay") }},
	{"image", needImage},
	{"packages", needPackages},
	{"profiles", needProfiles},
	{"user", needUser},
	{"descriptors", needDescriptors},
}

// checkHost returns a line for each thing that is missing.
func checkHost(c *config) (problems []string) {
	for _, r := range requirements {
		if p := r.problem(c); p != "" {
			problems = append(problems, r.name+": "+p)
		}
	}
	return problems
}

// capabilities that sandboxd uses itself: namespaces and mounts, id maps, other users' /proc folders and files, device nodes, loopback.
var capabilities = map[int]string{
	unix.CAP_SYS_ADMIN: "SYS_ADMIN", unix.CAP_SETUID: "SETUID", unix.CAP_SETGID: "SETGID", unix.CAP_SYS_PTRACE: "SYS_PTRACE",
	unix.CAP_DAC_OVERRIDE: "DAC_OVERRIDE", unix.CAP_MKNOD: "MKNOD", unix.CAP_NET_ADMIN: "NET_ADMIN", unix.CAP_KILL: "KILL",
	unix.CAP_CHOWN: "CHOWN", unix.CAP_SETPCAP: "SETPCAP",
}

func needRoot(*config) string {
	if os.Geteuid() != 0 {
		return fmt.Sprintf("running as uid %d: start sandboxd as root", os.Geteuid())
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return "capget: " + err.Error()
	}
	var missing []string
	for number, name := range capabilities {
		if data[number/32].Effective&(1<<(number%32)) == 0 {
			missing = append(missing, "CAP_"+name)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		return "lacks " + strings.Join(missing, ", ") + ": grant them (docker: --privileged; systemd: CapabilityBoundingSet)"
	}
	return ""
}

func needKernel(*config) string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "uname: " + err.Error()
	}
	release := unix.ByteSliceToString(uts.Release[:])
	major, minor := kernelVersion(release)
	if major < minKernel[0] || major == minKernel[0] && minor < minKernel[1] {
		return fmt.Sprintf("Linux %s is older than %d.%d (id-mapped tmpfs): upgrade the kernel", release, minKernel[0], minKernel[1])
	}
	return ""
}

func kernelVersion(release string) (major, minor int) {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return 0, 0
	}
	major, _ = strconv.Atoi(parts[0])
	digits := strings.IndexFunc(parts[1]+" ", func(r rune) bool { return r < '0' || r > '9' })
	minor, _ = strconv.Atoi(parts[1][:digits])
	return major, minor
}

func needCgroups(c *config) string {
	switch cgroups.Mode() {
	case cgroups.Unified:
		have, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		if err != nil {
			return err.Error()
		}
		for _, want := range []string{"cpu", "memory", "pids"} {
			if !strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+want+" ") {
				return "controller " + want + " is off: boot without cgroup_disable, or let the container have it"
			}
		}
		if above := crowded("/sys/fs/cgroup", c.CgroupParent); above != "" {
			return "processes are in " + above + " itself, so that it can hand no controller on to cgroup_parent: move them into a cgroup below it (systemd: " +
				"DelegateSubgroup=daemon; a container: docs/operate.md, cgroups)"
		}
	case cgroups.Legacy, cgroups.Hybrid:
		for _, want := range []string{"cpu", "cpuacct", "memory", "pids"} {
			if _, err := os.Stat("/sys/fs/cgroup/" + want); err != nil {
				return "cgroup v1 controller " + want + " is not mounted: mount -t cgroup -o " + want + " cgroup /sys/fs/cgroup/" + want
			}
		}
	default:
		return "nothing is mounted on /sys/fs/cgroup: mount -t cgroup2 none /sys/fs/cgroup"
	}
	return ""
}

func needNamespaces(*config) string {
	for _, kind := range []string{"user", "pid", "net", "mnt", "ipc", "uts", "cgroup", "time"} {
		if _, err := os.Stat("/proc/self/ns/" + kind); err != nil {
			return kind + " namespaces are not in this kernel: enable CONFIG_NAMESPACES and its parts"
		}
		max, err := os.ReadFile("/proc/sys/user/max_" + kind + "_namespaces")
		if err == nil && strings.TrimSpace(string(max)) == "0" {
			return fmt.Sprintf("%s namespaces are turned off: sysctl user.max_%s_namespaces=10000", kind, kind)
		}
	}
	return ""
}

func needSeccomp(*config) string {
	if _, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil {
		return "not in this kernel: enable CONFIG_SECCOMP_FILTER"
	}
	return ""
}

// needFilesystem also has the kernel load the module that the filesystem may be in.
func needFilesystem(name string) string {
	fd, err := unix.Fsopen(name, unix.FSOPEN_CLOEXEC)
	switch {
	case errors.Is(err, unix.EPERM):
		return "" // that is needRoot's to say
	case err != nil:
		return fmt.Sprintf("this kernel has no filesystem %s: %v: load its module with `modprobe %s`, or enable CONFIG_%s_FS", name, err, name, strings.ToUpper(name))
	}
	unix.Close(fd)
	return ""
}

func needImage(c *config) string {
	if _, err := os.Stat(filepath.Join(c.Image, "image.json")); err != nil {
		return fmt.Sprintf("%v: build one with `make rootfs`, or set image", err)
	}
	return ""
}

func needPackages(c *config) string {
	if c.Packages == "" {
		return ""
	}
	info, err := os.Stat(c.Packages)
	switch {
	case err != nil:
		return err.Error() + ": fill the folder with scripts/packages, or leave packages empty"
	case !info.IsDir():
		return c.Packages + " is not a folder"
	case info.Mode()&0o005 != 0o005:
		return c.Packages + " cannot be read by jails: chmod -R a+rX it"
	}
	if _, err := os.Stat(filepath.Join(c.Image, "rootfs", jail.PackagesDir)); err != nil {
		return fmt.Sprintf("%v: build the image anew with `make rootfs`, or leave packages empty", err)
	}
	return ""
}

func needProfiles(c *config) string {
	templates, err := loadTemplates(c)
	if err != nil {
		templates = nil // that is needImage's to say; the profiles can be read without
	}
	if _, err := loadPolicy(c, templates); err != nil {
		return err.Error()
	}
	return ""
}

func needUser(c *config) string {
	if _, _, err := lookupUser(c.User); err != nil {
		return err.Error()
	}
	return ""
}

// descriptorsPerJail are the eleven or twelve of a ready jail (pidfd, two or three control sockets, the filter's listener, user namespace, four of the cgroup, the workspace and a mount of it), and
// five of the up to ten of its job: few have everything at once. ownDescriptors are the daemon's.
const descriptorsPerJail, ownDescriptors = 16, 100

func wantedDescriptors(c *config) int { return c.MaxJails*descriptorsPerJail + ownDescriptors }

func needDescriptors(c *config) string {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err.Error()
	}
	if need := uint64(wantedDescriptors(c)); limit.Max < need {
		return fmt.Sprintf("hard limit %d is too low for max_jails %d: ulimit -Hn %d (systemd: LimitNOFILE), or lower max_jails", limit.Max, c.MaxJails, need)
	}
	return ""
}

// spareDescriptors is what the limit leaves beside those.
func spareDescriptors(c *config) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Max, 1<<30)) - wantedDescriptors(c)
}

// errHost is what checkHost found, in one error.
func errHost(problems []string) error {
	return errors.New("this host is not ready:\n  " + strings.Join(problems, "\n  "))
}
