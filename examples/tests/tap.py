"""Tests of the examples: cases as functions, results as TAP, servers as context managers."""
import contextlib
import os
import signal
import subprocess
import sys
import traceback

LIMIT = 60  # seconds; against hangs only
WRAPPER = os.environ.get("EXE_WRAPPER", "").split()  # an emulator, for programs built for it

cases = []


class Skip(Exception):
    """The reason why nothing can be tested here."""


def case(fn):
    """Register a test; its name, with blanks, is the sentence that is reported."""
    cases.append(fn)
    return fn


def equal(got, want):
    assert got == want, f"\n# got:  {got!r}\n# want: {want!r}"


def run(*args, status=0, **more):
    """Run a program to its end, check its exit status; its stdout."""
    done = subprocess.run([*WRAPPER, *args], stdout=subprocess.PIPE, text=True, timeout=LIMIT,
                          check=False, **more)
    equal(done.returncode, status)
    return done.stdout


@contextlib.contextmanager
def server(*args):
    """A server program on a free port: yields the port, then stops it and checks that it
    ends well. A server that ends by itself meanwhile is as good."""
    proc = subprocess.Popen([*args[:1], "--port", "0", *args[1:]], stdout=subprocess.PIPE,
                            text=True)
    try:
        line = proc.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        yield int(line.rsplit(":", 1)[1])
        if proc.poll() is None:
            proc.send_signal(signal.SIGTERM)
        equal(proc.wait(LIMIT), 0)
    finally:
        if proc.poll() is None:
            proc.kill()
            proc.wait()
        proc.stdout.close()


def main():
    failed = 0
    print(f"1..{len(cases)}", flush=True)
    for i, fn in enumerate(cases, 1):
        name = fn.__name__.replace("_", " ")
        try:
            fn()
            print(f"ok {i} - {name}")
        except Skip as why:
            print(f"ok {i} - {name} # SKIP {why}")
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {i} - {name}")
            for line in traceback.format_exc().splitlines():
                print("#", line)
        sys.stdout.flush()
    os._exit(failed > 0)
