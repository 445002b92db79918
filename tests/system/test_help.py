#!/usr/bin/env python3
"""usage: test_help.py GOJOBD RPC GOCTL: runs the example of every command that goctl help knows,
as it stands there, in a daemon where what it names exists, and the commands of
docs/workflows.md; prints TAP."""
import http.server
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time

from cli import GOCTL, answer, environment, lines, run
from daemon import LIMIT, Daemon, until

GOJOBD, RPC = sys.argv[1:3]
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/workflows.md")
CONFIG = """
fetch: {{allow: [127.0.0.0/8]}}
databases: {{stock: {{url: 'sqlite:{dir}/files/stock.db'}}}}
"""


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass


class World:
    """What the examples name: job 12 of batch 7, the open batch nightly, queues, files. In a
    busy world job 12 runs and the schedule exists; in a quiet one neither is so."""

    def __init__(self, busy):
        self.busy = busy
        self.daemon = d = Daemon(GOJOBD, RPC)
        d.configure(CONFIG.format(dir=d.dir))
        with open(f"{d.dir}/files/jobs.json", "w", encoding="utf-8") as f:
            f.write(lines({"sum": {"numbers": [1, 2]}}, {"sum": {"numbers": [3]}}))
        with open(f"{d.dir}/files/a.log", "w", encoding="utf-8") as f:
            f.write("a line\n")
        db = sqlite3.connect(f"{d.dir}/files/stock.db")
        db.executescript("CREATE TABLE part (id, name); INSERT INTO part VALUES (7, 'bolt');")
        db.close()
        d.start()
        self.calls = d.client()
        for _ in range(6):
            answer(d, "submit", "sum", "1")
        job = {"timer": {"every": "1h"}} if busy else {"sum": {"numbers": [1]}}
        answer(d, "submit", "-f", "-", "--batch", "seven", stdin=lines(*[job] * 6))
        answer(d, "queue", "set", "mail", "--running", "5")
        until(lambda: self.job_is("running" if busy else "succeeded"), "job 12 is as it should be")

    def job_is(self, state):
        job = self.calls.call("get", {"job": 12})
        return job["state"] == state and job["batch"] == 7

    def prepare(self):
        """What examples before this one may have taken away. False: it takes another world."""
        if not self.job_is("running" if self.busy else "succeeded"):
            return False
        answer(self.daemon, "batch", "open", "nightly")
        answer(self.daemon, "batch", "add", "nightly", "sum", "1", "--wait")
        if self.busy:
            answer(self.daemon, "schedule", "add", "--name", "hourly", "--every", "1h",
                   "--replace", "sum", "1")
        return True

    def stir(self):
        """Something happens, for those who wait for it."""
        run(self.daemon, "batch", "add", "7", "sum", "1")
        run(self.daemon, "batch", "close", "nightly")

    def waiting(self):
        return self.calls.call("stats", {})["waiters"] > 0

    def close(self):
        self.calls.close()
        self.daemon.close()


def adapt(example, world):
    """The example in this world: its places and sites are here, its waits are short."""
    page = f"http://127.0.0.1:{site.server_address[1]}/"
    example = example.replace("https://example.org/", page)
    example = re.sub(r"/(var/log|srv/backup)/", f"{world.daemon.dir}/files/", example)
    example = re.sub(r"(?<!timeout )\b(\d+)s\b", r"\g<1>0ms", example)
    return re.sub(r"^goctl ", f"{GOCTL} ", example)


def end(process, world):
    """Its exit status; what goes on for ever is interrupted once it has told something."""
    stirred = 0
    limit = time.monotonic() + LIMIT
    while process.poll() is None:
        assert time.monotonic() < limit, "it does not end"
        if not stirred and world.waiting():
            world.stir()
            stirred = time.monotonic()
        told = os.path.getsize(f"{world.daemon.dir}/out") > 0
        if stirred and told and time.monotonic() > stirred + 0.5:
            process.send_signal(signal.SIGINT)
            process.wait(LIMIT)
            return 0 if process.returncode in (0, 130, -signal.SIGINT) else process.returncode
        time.sleep(0.005)
    return process.returncode


def attempt(example, world):
    """The complaint of an example that does not succeed, or None."""
    path = f"{world.daemon.dir}/out"
    with open(path, "w", encoding="utf-8") as out, open(f"{path}.err", "w+",
                                                        encoding="utf-8") as err:
        process = subprocess.Popen(["bash", "-c", "exec " + adapt(example, world)], stdout=out,
                                   stderr=err, stdin=subprocess.DEVNULL,
                                   env=environment(world.daemon), cwd=f"{world.daemon.dir}/files")
        code = end(process, world)
        err.seek(0)
        return None if code == 0 else f"exit {code}: {err.read()}"


worlds = {}


def world_of(busy):
    world = worlds.get(busy)
    if world is None or not world.prepare():
        if world is not None:
            world.close()
        world = worlds[busy] = World(busy)
        assert world.prepare(), "a new world lacks something"
    return world


def check(command):
    text = subprocess.run([GOCTL, "help", *command.split()], text=True, capture_output=True,
                          check=True).stdout
    examples = re.findall(r"^  (goctl .*)$", text[text.index("\nExample"):], re.M)
    assert examples, "it has no example"
    for example in examples:
        assert example.startswith(f"goctl {command.split()[0]}"), f"{example} is of another command"
        if attempt(example, world_of(True)) is not None:
            problem = attempt(example, world_of(False))
            assert problem is None, f"{example}: {problem}"
    wrong = run(world_of(True).daemon, *command.split(), "--no-such-option")
    assert wrong.returncode == 2 and "unknown option" in wrong.stderr, wrong


def follow(page):
    """The commands of a page, one after the other, in a world of their own."""
    with open(page, encoding="utf-8") as f:
        text = re.sub(r"\\\n +", "", f.read())
    commands = re.findall(r"^    (\S.*)$", text, re.M)
    assert len(commands) > 10, f"only {len(commands)} commands"
    world = World(False)
    try:
        for command in commands:
            line, _, code = command.partition("# exit ")
            line = re.sub(r"\bgoctl ", f"{GOCTL} ", line)
            r = subprocess.run(["bash", "-c", line], text=True, capture_output=True,
                               env=environment(world.daemon), timeout=LIMIT, check=False)
            assert r.returncode == int(code or 0), f"{command}: exit {r.returncode}: {r.stderr}"
    finally:
        world.close()


site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
threading.Thread(target=site.serve_forever, daemon=True).start()
overview = subprocess.run([GOCTL, "help"], text=True, capture_output=True, check=True).stdout
commands = re.findall(r"^  ([a-z][\w-]*(?: [a-z][\w-]*)?)  +\S", overview, re.M)
failed = len(commands) < 40
print(f"1..{len(commands) + 2}")
print(f"{'not ok' if failed else 'ok'} 1 - goctl help lists {len(commands)} commands")
cases = [(f"the example of goctl {name} succeeds", check, name) for name in commands]
cases.append(("the commands of docs/workflows.md do as it says", follow, PAGE))
for n, (name, function, what) in enumerate(cases, 2):
    try:
        function(what)
        print(f"ok {n} - {name}", flush=True)
    except Exception as e:  # a command's failure must not hide the next ones
        failed = True
        print(f"not ok {n} - {name}\n# " + str(e).replace("\n", "\n# "), flush=True)
for each in worlds.values():
    each.close()
site.shutdown()
sys.exit(failed)
