#!/usr/bin/env python3
"""usage: test_debug.py GOJOBD RPC GOCTL: stacks, goroutines and traces of a daemon at work;
prints TAP."""
import json
import re
import signal
import subprocess
import sys

from daemon import LIMIT, main, until

GOCTL = sys.argv[3]
TIMERS = 2000


def goctl(d, *args):
    return subprocess.run([GOCTL, "-u", d.url, *args], capture_output=True, text=True,
                          timeout=LIMIT, check=False)


def endless_sum(d, parts):
    """A sum over more zeros than anybody could wait for; the file is one hole."""
    with open(f"{d.dir}/files/zeros", "wb") as f:
        f.truncate(1 << 42)
    spec = {"file": f"{d.dir}/files/zeros", "format": "int64", "parts": parts}
    return d.call("submit", {"jobs": [{"sum": spec}]})["ids"][0]


def functions(group):
    return [f["function"] for f in group["frames"]]


def a_jobs_stack_is_that_of_all_its_goroutines(d):
    d.start()
    job = endless_sum(d, 3)
    with d.client() as c:
        other = c.call("submit", {"jobs": [{"timer": {"every": "1h"}}]})["ids"][0]
        count = lambda: sum(g["count"] for g in c.call("stack", {"job": job})["groups"])
        until(lambda: count() == 4, "three parts and their sum")
        rep = c.call("stack", {"job": job})
        assert rep["total"] == 4 and all(g["job"] == job for g in rep["groups"]), rep
        names = {g["name"]: sum(h["count"] for h in rep["groups"] if h["name"] == g["name"])
                 for g in rep["groups"]}
        assert names == {"sum": 1, "file_part": 3}, names
        waiting = next(g for g in rep["groups"] if g["name"] == "sum")
        assert waiting["reason"] == "chan receive", waiting
        assert functions(waiting)[0] == "go_chan_recv" and "job_run" in functions(waiting)
        ran = next(f for f in waiting["frames"] if f["function"] == "job_run")
        assert ran["file"] == "jobs/kind.c" and ran["line"] > 0, ran
        text = goctl(d, "stack", str(other)).stdout
        assert re.search(rf"^1 waiting, select, .*timer, job {other}, goroutine \d+$", text, re.M)
        assert re.search(r"^    timer_run +jobs/timer\.c:\d+$", text, re.M), text
        c.call("cancel", {"select": {"jobs": [job, other]}})
        ended = lambda: c.call("get", {"job": job})["state"] == "cancelled"
        until(ended, "its end")
        assert c.refused("stack", {"job": job}) == ("conflict", "job")
        assert c.refused("stack", {"job": other + 1}) == ("not_found", "job")
    for absent, says in (job, "does not run"), (other + 1, f"there is no job {other + 1}"):
        r = goctl(d, "stack", str(absent))
        assert r.returncode == 4 and says in r.stderr, r.stderr
    assert goctl(d, "stack", "x").returncode == 2


def equal_stacks_are_counted_together_while_thousands_run(d):
    d.start()
    with d.client() as c:
        batch = c.call("submit", {"jobs": [{"timer": {"every": "200ms", "count": 1000000}}] *
                                  TIMERS})["batch"]
        timers_of = lambda rep: [g for g in rep["groups"] if g["name"] == "timer"]
        all_of = lambda rep: sum(g["count"] for g in timers_of(rep)) == TIMERS
        until(lambda: all_of(c.call("goroutines", {})), "all of them run")
        for _ in range(5):
            rep = c.call("goroutines", {})
            timers = timers_of(rep)
            assert all_of(rep), timers
            assert len(timers) < 20 and rep["total"] > TIMERS, len(timers)
            counts = [g["count"] for g in rep["groups"]]
            assert counts == sorted(counts, reverse=True), counts
            assert all(len(g["ids"]) <= min(g["count"], 20) for g in rep["groups"])
            assert c.call("ping", {})["version"]
        names = {g["name"] for g in rep["groups"]}
        assert {"store writer", "dispatch", "main"} <= names, names
        text = goctl(d, "goroutines").stdout
        assert re.search(rf"^{rep['total']} goroutines$|^\d+ goroutines$", text, re.M)
        assert re.search(r"^    spawned by task_start at daemon/task\.c:\d+$", text, re.M), text
        c.call("cancel", {"select": {"batch": batch}})


def a_trace_opens_in_perfetto(d):
    d.start()
    with d.client() as c:
        c.call("submit", {"jobs": [{"timer": {"every": "10ms", "count": 1000000}}] * 20})
        r = goctl(d, "trace", "300ms")
        assert r.returncode == 0, r.stderr
        events = json.loads(r.stdout)["traceEvents"]
        for e in events:
            assert e["ph"] in "XiMsfC" and "pid" in e and isinstance(e.get("ts", 0), (int, float))
        ran = [e for e in events if e["ph"] == "X" and e["name"].startswith("timer")]
        assert ran and all(e["dur"] >= 0 for e in ran), events[:5]
        assert c.call("ping", {})["version"]
    assert goctl(d, "trace", "soon").returncode == 2
    assert goctl(d, "trace", "1h").returncode == 4


def an_interrupted_trace_leaves_nothing(d):
    d.start()
    out = f"{d.dir}/trace.json"
    waits = lambda: d.call("stats", {})["clients"] >= 2
    with open(out, "w") as f, subprocess.Popen([GOCTL, "-u", d.url, "trace", "30s"],
                                               stdout=f) as p:
        until(waits, "the trace is being made")
        with d.client() as c:
            assert c.refused("trace", {"duration": "1s"})[0] == "conflict"
        p.send_signal(signal.SIGINT)
        assert p.wait(LIMIT) == 130
    with open(out) as f:
        assert f.read() == ""
    until(lambda: d.call("stats", {})["clients"] == 1, "the daemon knows that nobody waits")
    assert goctl(d, "trace", "10ms").returncode == 0


main([a_jobs_stack_is_that_of_all_its_goroutines,
      equal_stacks_are_counted_together_while_thousands_run, a_trace_opens_in_perfetto,
      an_interrupted_trace_leaves_nothing])
