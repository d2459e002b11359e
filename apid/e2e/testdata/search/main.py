import os, stat, sys
secret, own = (line[::-1].encode() for line in sys.stdin.read().split())
for root in sys.argv[1:]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode) and name not in ("mem", "kmsg", "pagemap", "kcore"):
                    with open(path, "rb") as f:
                        content = f.read(1 << 20)
                    if secret in content: print("SECRET in", path)
                    if own in content: print("own")
            except OSError:
                pass
