import asyncio, os, shutil, signal, subprocess

subprocess.run(["sh", "tools.sh"], check=True)
with open("new", "w") as f:
    f.write("x" * 100_000)
here = os.open(".", os.O_RDONLY)
os.mkdir("folder", dir_fd=here)
os.link("new", "hard", src_dir_fd=here, dst_dir_fd=here)
os.symlink("new", "link", dir_fd=here)
os.rename("hard", "moved", src_dir_fd=here, dst_dir_fd=here)
os.chown("link", os.getuid(), -1, dir_fd=here, follow_symlinks=False)
os.lchown("link", os.getuid(), -1)
shutil.copyfile("new", "copy")
copy, part = os.open("copy", os.O_RDWR), bytearray(3)
assert os.pwritev(copy, [b"ab", b"c"], 5) == 3 and os.preadv(copy, [part], 5) == 3 and part == b"abc"
os.sched_getscheduler(0), os.sched_getparam(0), os.sched_get_priority_max(os.SCHED_RR), os.sched_get_priority_min(os.SCHED_RR)
os.getpriority(os.PRIO_PROCESS, 0), signal.getitimer(signal.ITIMER_REAL)
sleeper = subprocess.Popen(["sleep", "60"])
signal.pidfd_send_signal(os.pidfd_open(sleeper.pid), signal.SIGKILL)
assert sleeper.wait() == -signal.SIGKILL


async def child():
    return await (await asyncio.create_subprocess_exec("true")).wait()


assert asyncio.run(child()) == 0
print("done")
