import os
import sys

os.environ["KEPT"] = "left by the program"
if os.fork() == 0:
    os.environ["FROM_CHILD"] = "must not be handed out"
    sys.exit(0)
os.wait()
print(os.environ.get("LD_PRELOAD"))
