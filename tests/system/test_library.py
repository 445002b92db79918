#!/usr/bin/env python3
"""usage: test_library.py GOJOBD RPC LIBRARY: a C program on libgoctl and a real daemon."""
import subprocess
import sys

import daemon


def threads_share_a_connection_and_each_gets_its_own(d):
    d.start()
    got = subprocess.run([sys.argv[3], d.url], capture_output=True, text=True,
                         timeout=daemon.LIMIT)
    assert got.returncode == 0, got.stdout + got.stderr


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
