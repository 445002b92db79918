"""goctl against a daemon of one's own: what the tests of its commands share."""
import json
import os
import subprocess
import sys

from daemon import LIMIT

GOCTL = os.path.abspath(sys.argv[3])


def environment(daemon):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GOJOBD")}
    env["GOJOBD_URL"] = daemon.url
    env["TZ"] = "UTC"
    # ThreadSanitizer sleeps for a second at each exit otherwise.
    env["TSAN_OPTIONS"] = env.get("TSAN_OPTIONS", "") + ":atexit_sleep_ms=0"
    return env


def begin(daemon, *args):
    """goctl in the background."""
    return subprocess.Popen([GOCTL, *args], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=environment(daemon))


def run(daemon, *args, stdin=None):
    return subprocess.run([GOCTL, *args], input=stdin, text=True, capture_output=True,
                          env=environment(daemon), timeout=LIMIT, cwd=f"{daemon.dir}/files",
                          check=False)


def answer(daemon, *args, code=0, stdin=None):
    """What a command prints; it must end with this code."""
    r = run(daemon, *args, stdin=stdin)
    assert r.returncode == code, f"{args}: exit {r.returncode}, not {code}: {r.stdout}{r.stderr}"
    return r.stdout


def complaint(daemon, *args, code, stdin=None):
    """The one line of a command that must fail without an answer."""
    r = run(daemon, *args, stdin=stdin)
    assert r.returncode == code, f"{args}: exit {r.returncode}, not {code}: {r.stdout}{r.stderr}"
    assert r.stdout == "" and r.stderr.count("\n") == 1, f"{args}: {r.stdout}{r.stderr}"
    return r.stderr


def rows(daemon, *args, code=0, stdin=None):
    """What a command prints with --json, as objects."""
    out = answer(daemon, *args, "--json", code=code, stdin=stdin)
    return [json.loads(line) for line in out.splitlines()]


def row(daemon, *args, code=0, stdin=None):
    all_rows = rows(daemon, *args, code=code, stdin=stdin)
    assert len(all_rows) == 1, f"{args}: {len(all_rows)} answers"
    return all_rows[0]


def lines(*jobs):
    """A file of jobs."""
    return "".join(json.dumps(job) + "\n" for job in jobs)


def ids(daemon, *args, stdin=None):
    """The jobs that a submission makes."""
    return [i for r in rows(daemon, *args, stdin=stdin) for i in r.get("ids", [])]


def states(daemon, *selection):
    """By id."""
    return {j["id"]: j["state"] for j in rows(daemon, "ls", *selection)}


def equal(got, want):
    assert got == want, f"got {got!r}, not {want!r}"


def holds(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} is not in {text!r}"
