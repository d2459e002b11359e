// Package jail makes one jail: namespaces, mounts, identity and filter around one program.
//
// # Theory of operation
//
// A jail is built by steps (zygote.h) that this package writes down and zygote.c carries out. [Start] starts the spawner, a process
// made of zygote.c alone. Then, for each jail:
//
//	Spawn   the spawner joins a network namespace made ahead and clones PID 1 into new user, pid, mount, ipc, uts and
//	        time namespaces; we write its id maps. The jail exists, nothing in it is set up.
//	Build   PID 1 attaches the image, /dev, /proc, /tmp and /dev/shm, pivots, and keeps three capabilities of its own
//	        user namespace to attach the workspace later. It spawns the runner, which joins the job's cgroup, loses
//	        every privilege and loads the filter. The jail is parked: it waits for a job.
//	Load    optional: the runner executes the template's runtime, which loads and waits for the job (rootfs/parked).
//	Start   PID 1 attaches workspace and build volume, drops its last capabilities (behind a compiler: lays them aside), and only then places the files.
//	        It wakes the runner, which becomes the program. PID 1 reaps, and reports how the program ended.
//	Wait    how the program ended; or that the jail was killed, or could not begin the job.
//	Follow  only for a compiler's jail in which a second runner waits (follow.go): the program takes the compiler's place.
//	Clear   only for a compiler, which ran no foreign code (renew.go): its job is taken out of the jail,
//	Renew   and it waits for the next one.
//	Kill    SIGKILL to PID 1: the kernel forbids new processes in its PID namespace and kills all that are there, stopped or
//	        forking. Nothing can outlive it.
//	Close   Kill, wait until all of it is dead, release it.
//
// Order inside the runner: cgroup, cgroup namespace, session, rlimits, uid and gid, capabilities, no_new_privs,
// close_range, seccomp, exec. If any step fails the jail is useless and [Jail.Close] destroys it; the error names the step.
//
// # What this package does not know
//
// Cgroups (Build gets files to write "0" to), libseccomp (it gets BPF bytes), where volumes live (it gets mounts).
package jail
