#!/usr/bin/env python3
"""Clients whose daemon is killed under them and comes back; copies made meanwhile."""
import json
import os
import random
import shutil
import sqlite3
import subprocess
import threading

import daemon
from daemon import until

KILLS = 4


def _lines(out):
    return [json.loads(line) for line in out.splitlines()]


def a_wait_goes_on(d):
    d.start()
    d.call("queue_set", {"name": "q", "limits": {"paused": True}})
    short = [{"timer": {"every": "10ms"}, "queue": "q"}] * 20
    batch = d.call("submit", {"jobs": short})["batch"]
    crowd = [d.ctl_start("wait", str(batch), "--json") for _ in range(5)]
    until(lambda: d.call("stats", {})["waiters"] == 5, "five waiting clients")
    d.kill()
    d.start()
    d.call("queue_resume", {"name": "q"})
    for p in crowd:
        out, err = p.communicate(timeout=daemon.LIMIT)
        jobs = _lines(out)
        assert p.returncode == 0, err
        assert len(jobs) == 20 and {j["state"] for j in jobs} == {"succeeded"}, out
        assert len({j["id"] for j in jobs}) == 20, "a job came twice"
        assert "waiting for it to come back" in err, err


def a_submission_that_streams_goes_on(d):
    """Killed again and again in the middle of a stream: each line becomes one job, and each
    job's result is told once."""
    n = 40000
    d.start()
    p = d.ctl_start("submit", "-f", "-", "--wait", "--json", stdin=subprocess.PIPE)
    fed = threading.Thread(target=_feed, args=(p, n))
    got = []
    reader = threading.Thread(target=lambda: got.extend(p.stdout))
    said = threading.Thread(target=p.stderr.read)
    for t in (fed, reader, said):
        t.start()
    for kill in range(KILLS):
        # In the middle of it: when another part of the results has come.
        until(lambda: len(got) > n * kill // (2 * KILLS) or not reader.is_alive(), "results")
        d.kill()
        d.start()
    for t in (fed, reader, said):
        t.join(daemon.LIMIT)
    assert p.wait(daemon.LIMIT) == 0
    jobs = [json.loads(line) for line in got]
    assert len({j["id"] for j in jobs}) == len(jobs) == n, len(jobs)
    assert sorted(j["sum"]["sum"] for j in jobs) == list(range(1, n + 1))
    with d.client() as c:
        assert c.call("stats", {})["counts"]["total"] == n
        assert c.call("check", {})["ok"]


def _feed(p, n):
    for i in range(n):
        p.stdin.write('{"sum":{"numbers":[%d,1]}}\n' % i)
    p.stdin.close()


def whatever_waits_goes_on_over_an_orderly_restart(d):
    """Told to stop, the daemon answers those who wait; they must come again all the same."""
    d.start()
    job = {"sum": {"numbers": [2, 3]}, "queue": "held"}
    d.call("queue_set", {"name": "held", "limits": {"paused": True}})
    batch = str(d.call("submit", {"jobs": [job] * 5})["batch"])
    begin = lambda *args, **more: d.ctl_start(*args, "--json", **more)
    wait, whole, watch = begin("wait", batch), begin("batch", "wait", batch), begin(
        "watch", "--batch", batch, "--no-progress")
    stream = begin("submit", "-f", "-", "--wait", stdin=subprocess.PIPE)
    stream.stdin.write((json.dumps(job) + "\n") * 5)
    stream.stdin.flush()
    waiting = lambda n: until(lambda: d.call("stats", {})["waiters"] == n, f"{n} wait")
    waiting(4)
    for _ in range(2):
        assert d.stop() == 0
        d.start()
        waiting(4)
    stream.stdin.write((json.dumps(job) + "\n") * 5)
    stream.stdin.close()
    stream.stdin = None
    d.call("queue_set", {"name": "held", "limits": {"paused": False}})
    for p, n in (wait, 5), (whole, 1), (stream, 10):
        out, err = p.communicate(timeout=daemon.LIMIT)
        assert p.returncode == 0 and len(_lines(out)) == n, (out, err)
    events = []
    while sum(e.get("job", {}).get("state") == "succeeded" for e in events) < 5:
        events.append(json.loads(watch.stdout.readline()))
    seqs = [e["seq"] for e in events]
    assert seqs == sorted(set(seqs)), seqs
    watch.terminate()
    watch.communicate(timeout=daemon.LIMIT)


def an_answer_comes_though_the_daemon_stays_away_for_a_while(d):
    d.start()
    d.stop()
    p = d.ctl_start("submit", "sum", "2", "3", "--wait")
    out, err = p.communicate(timeout=daemon.LIMIT)
    assert p.returncode == 3 and "not reachable" in err, (out, err)  # it was never there
    d.start()
    p = d.ctl_start("submit", "timer", "--every", "1h", "--timeout", "50ms", "--retries", "99",
                    "--wait")
    until(lambda: d.call("stats", {})["waiters"] == 1, "the waiting client")
    d.kill()
    assert "waiting for it to come back" in p.stderr.readline()
    d.start()
    d.call("cancel", {"select": {"jobs": [1]}})
    out, err = p.communicate(timeout=daemon.LIMIT)
    assert p.returncode == 1 and "cancelled" in err, (out, err)


def a_backup_under_load_holds_all_that_was_acknowledged(d):
    d.start()
    acked, stop = [], threading.Event()

    def load():
        with d.client() as c:
            while not stop.is_set():
                jobs = [{"sum": {"numbers": [random.randrange(1000)]}} for _ in range(20)]
                acked.append(c.call("submit", {"jobs": jobs}))

    workers = [threading.Thread(target=load) for _ in range(3)]
    for w in workers:
        w.start()
    try:
        for turn in range(3):
            until(lambda: len(acked) > 20 * (turn + 1), "load")
            before = list(acked)
            copy = f"{d.dir}/copy{turn}"
            got = d.ctl("backup", copy)
            assert got.returncode == 0, got
            _holds(copy, before)
        assert d.ctl("check").returncode == 0
    finally:
        stop.set()
        for w in workers:
            w.join()
    got = d.ctl("backup", f"{d.dir}/no/such/place")
    assert got.returncode != 0 and "no/such/place" in got.stderr, got
    d.stop()
    shutil.rmtree(d.state)  # the disk is lost; the copy takes its place
    os.mkdir(d.state)
    shutil.copy(copy, f"{d.state}/gojobd.db")
    half = f"{d.state}/gojobd.db.handout-1-2.part"  # of a daemon killed while making a backup
    for name in (half, f"{d.state}/gojobd.db.mine"):
        open(name, "w").close()
    d.start()
    assert not os.path.exists(half) and os.path.exists(f"{d.state}/gojobd.db.mine")
    with d.client() as c:
        assert c.call("check", {})["ok"]
        for rep in before:
            jobs = c.wait(rep["batch"])
            assert sorted(jobs) == sorted(rep["ids"])
            assert {j["state"] for j in jobs.values()} == {"succeeded"}


def _holds(copy, acked):
    db = sqlite3.connect(f"file:{copy}?mode=ro", uri=True)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    have = {i for (i,) in db.execute("SELECT id FROM job")}
    db.close()
    missing = [i for rep in acked for i in rep["ids"] if i not in have]
    assert not missing, missing[:10]


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
