package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/wire"
)

// terminal is a pseudo-terminal of one job.
//
// It lives in a devpts of its own, not in the host's: the program finds /dev/pts/0 and nothing beside it, so there is no terminal of anybody else to
// open, and /dev/pts/ptmx, which makes new ones, has no permissions and is not the program's. What a terminal can do to others it does through
// its session: input that is pushed back (TIOCSTI) reaches those who share the terminal, which is nobody outside of the jail, and the
// filter refuses it anyhow, as it does TIOCSCTTY, TIOCSETD, TIOCCONS and the like.
type terminal struct {
	mount         *os.File // detached; its nodes work, nothing in it is executed
	master, slave *os.File
}

// ttyGroup is the group of terminals in the image, by /etc/group of Debian.
const ttyGroup = 5

// openTerminal makes one that belongs to the program of a jail with these ids. Whatever exists of it is closed after an error.
func openTerminal(size *wire.Terminal, ids jail.IDs) (*terminal, error) {
	t := &terminal{}
	err := t.open(size, ids)
	if err != nil {
		t.close()
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	return t, nil
}

func (t *terminal) open(size *wire.Terminal, ids jail.IDs) error {
	if err := t.makeMount(ids); err != nil {
		return err
	}
	fd, err := unix.Openat(int(t.mount.Fd()), "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open ptmx: %w", err)
	}
	t.master = os.NewFile(uintptr(fd), "master")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols}); err != nil {
		return fmt.Errorf("set the size: %w", err)
	}
	modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("read modes: %w", err)
	}
	modes.Iflag |= unix.IUTF8 // erasing takes a character, not a byte
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, modes); err != nil {
		return fmt.Errorf("set modes: %w", err)
	}
	// Not by path: the name of the slave is looked up by the kernel, in the instance of the master.
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return fmt.Errorf("open the slave: %w", errno)
	}
	t.slave = os.NewFile(slave, "slave")
	return nil
}

func (t *terminal) makeMount(ids jail.IDs) error {
	fs, err := unix.Fsopen("devpts", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fsopen devpts: %w", err)
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{
		{"uid", strconv.FormatUint(uint64(ids.First)+jail.UserID, 10)}, {"gid", strconv.FormatUint(uint64(ids.First)+ttyGroup, 10)},
		{"mode", "0620"}, {"ptmxmode", "0000"}, {"max", "1"},
	} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return fmt.Errorf("fsconfig devpts %s=%s: %w", option[0], option[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("fsconfig devpts create: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return fmt.Errorf("fsmount devpts: %w", err)
	}
	t.mount = os.NewFile(uintptr(fd), "devpts")
	return nil
}

// close gives our ends up. Those of the jail and of the client go on.
func (t *terminal) close() {
	for _, f := range []*os.File{t.slave, t.master, t.mount} {
		if f != nil {
			f.Close()
		}
	}
}

// start sends the job on its way, and the client the other end of its terminal.
func (j *job) start() error {
	spec := j.jailJob()
	if j.req.Terminal == nil {
		if err := j.ready.jail.Start(spec); err != nil {
			return j.notBegun(j.startError(err))
		}
		// The program has its own now, and the end of the last one is what the caller's readers wait for.
		for _, ours := range []*os.File{j.fds.stdin, j.fds.stdout, j.fds.stderr} {
			ours.Close()
		}
		return nil
	}
	t, err := openTerminal(j.req.Terminal, j.server.builder.slots.ids(j.ready.slot))
	if err != nil {
		return j.notBegun(err)
	}
	defer t.close()
	spec.Terminal, spec.Stdin, spec.Stdout, spec.Stderr = t.mount, t.slave, t.slave, t.slave
	if err := j.ready.jail.Start(spec); err != nil {
		return j.notBegun(j.startError(err))
	}
	_ = j.conn.Send(&wire.Reply{Terminal: &struct{}{}}, t.master) // a client that is gone has hung up
	return nil
}
