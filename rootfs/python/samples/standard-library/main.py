import ctypes
import hashlib
import json
import multiprocessing
import sqlite3
import ssl
import zoneinfo
from datetime import datetime


def square(n):
    return n * n


if __name__ == "__main__":
    db = sqlite3.connect(":memory:")
    print(db.execute("select 6 * 7").fetchone()[0])
    print(ssl.create_default_context().verify_mode.name)
    print(datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset())
    print(ctypes.CDLL(None).abs(-5))
    with multiprocessing.Pool(2) as pool:
        print(json.dumps(pool.map(square, range(5))))
    print(hashlib.sha256(b"").hexdigest()[:8])
