#!/usr/bin/env python3
"""usage: test_schedule.py GOJOBD RPC GOCTL: schedules of a real daemon, past restarts and kills."""
import base64
import ctypes
import json
import os
import re
import shlex
import signal
import sqlite3
import struct
import subprocess
import sys
import time

import daemon
from daemon import until

GOCTL = os.path.abspath(sys.argv[3])
HOUR = 3600_000
SUM = {"sum": {"numbers": [1, 2]}}
LONG = {"timer": {"every": "1h"}}
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def environment(d):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GOJOBD")}
    env.update(GOJOBD_URL=d.url, TZ="UTC", PATH=f"{os.path.dirname(GOCTL)}:{env['PATH']}",
               TSAN_OPTIONS=env.get("TSAN_OPTIONS", "") + ":atexit_sleep_ms=0")
    return env


def goctl(d, *args, code=0, stdin=None):
    """What it printed: to standard output, or the one line of its complaint."""
    r = subprocess.run([GOCTL, *args], input=stdin, text=True, capture_output=True,
                       env=environment(d), timeout=daemon.LIMIT, check=False)
    assert r.returncode == code, f"{args}: exit {r.returncode}: {r.stdout}{r.stderr}"
    assert code == 0 or (r.stdout == "" and r.stderr.count("\n") == 1), r.stdout + r.stderr
    return r.stderr if code else r.stdout


def add(c, name, **spec):
    spec.setdefault("jobs", [SUM])
    return c.call("schedule_add", {"spec": {"name": name, **spec}})


def show(d, name):
    return d.call("schedule_get", {"name": name})


def edit(d, sql, *args):
    """Changes the store of a daemon that does not run."""
    db = sqlite3.connect(f"{d.dir}/state/gojobd.db")
    db.execute(sql, args)
    db.commit()
    db.close()


def rows(d, sql, *args):
    db = sqlite3.connect(f"file:{d.dir}/state/gojobd.db?mode=ro", uri=True)
    got = db.execute(sql, args).fetchall()
    db.close()
    return got


def make_due(d, sql, ms):
    """As if the daemon had been away: what the sql selects was due so long ago."""
    first = now_ms() - ms
    edit(d, f"UPDATE schedule SET next_at = ?1, created = ?1 - 10 * {HOUR} WHERE {sql}", first)
    return first


def now_ms():
    return int(time.time() * 1000)


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def ms_stamp(ms):
    text = stamp(ms // 1000)
    return text if ms % 1000 == 0 else f"{text[:-1]}.{ms % 1000:03d}".rstrip("0") + "Z"


# --- times ------------------------------------------------------------------------------------


def a_schedule_of_every_second_runs_every_second_and_never_early(d):
    d.start()
    with d.client() as c:
        base = now_ms() + 200
        s = add(c, "tick", every="1s", at=ms_stamp(base))
        until(lambda: show(d, "tick")["runs"] >= 2, "two runs")
        c.call("schedule_pause", {"name": "tick"})
        s = show(d, "tick")
        jobs = c.call("list", {"select": {"schedule": s["id"]}})["jobs"]
    made = [b for (b,) in rows(d, "SELECT created FROM batch WHERE schedule = ? ORDER BY id",
                               s["id"])]
    assert len(made) == s["runs"] == len(jobs), (made, s)
    assert {j["schedule"] for j in jobs} == {s["id"]}
    # Each is of a later second than the one before, and not before it.
    assert all(at >= base + 1000 * i for i, at in enumerate(made)), (base, made)


def one_at_a_time_runs_once_and_is_over(d):
    d.start()
    with d.client() as c:
        now = now_ms()
        add(c, "soon", at=ms_stamp(now + 200))
        add(c, "past", at=ms_stamp(now - HOUR))
        add(c, "given up", at=ms_stamp(now - HOUR), missed="skip")
        until(lambda: show(d, "soon")["runs"] == 1, "its run")
        until(lambda: show(d, "past")["runs"] == 1, "the run it missed")
        until(lambda: show(d, "given up")["missed"] == 1, "what is given up")
        assert show(d, "given up")["runs"] == 0
        assert "next" not in show(d, "soon")
        batch = c.call("batch_get", {"batch": show(d, "soon")["last_batch"]})
        assert (batch["schedule"], batch["name"]) == (show(d, "soon")["id"], "soon")
        made, = rows(d, "SELECT created FROM batch WHERE id = ?", batch["id"])
        assert made[0] >= now + 200, batch
        # The same moment again is no second run; another one is.
        c.call("schedule_add", {"replace": True, "spec": {
            "name": "soon", "at": ms_stamp(now + 200), "jobs": [SUM, SUM]}})
        assert "next" not in show(d, "soon")
        c.call("schedule_add", {"replace": True, "spec": {
            "name": "soon", "at": ms_stamp(now - 1), "jobs": [SUM, SUM]}})
        assert "next" not in show(d, "soon") and show(d, "soon")["runs"] == 1
        c.call("schedule_add", {"replace": True, "spec": {
            "name": "soon", "at": ms_stamp(now + HOUR), "jobs": [SUM]}})
        assert show(d, "soon")["next"] == ms_stamp(now + HOUR)


def previews_are_the_times_of_the_zone(d):
    d.start()
    with d.client() as c:
        add(c, "eight", cron="0 8 * * *", tz="Europe/Berlin")
        ask = {"count": 3, "from": "2099-03-27T12:00:00Z"}  # clocks change on the 29th
        want = ["2099-03-28T07:00:00Z", "2099-03-29T06:00:00Z", "2099-03-30T06:00:00Z"]
        assert c.call("schedule_next", {"ref": {"name": "eight"}, **ask})["times"] == want
        spec = {"cron": "TZ=Europe/Berlin 30 2 * * *"}
        assert c.call("schedule_next", {"spec": spec, **ask})["times"] == [
            "2099-03-28T01:30:00Z", "2099-03-29T01:00:00Z", "2099-03-30T00:30:00Z"]
        assert c.refused("schedule_next", {"ref": {"name": "eight"}, "spec": spec}) == (
            "invalid", "spec")


# --- restarts ---------------------------------------------------------------------------------


def a_restart_makes_up_by_each_policy(d):
    d.start()
    with d.client() as c:
        for m in ("skip", "once", "all"):
            add(c, f"missed {m}", every="1h", missed=m, overlap="allow")
        for o in ("skip", "queue", "allow"):
            add(c, f"overlap {o}", every="1h", missed="all", overlap=o, jobs=[LONG])
        add(c, "paused", every="1h", missed="all", paused=True)
    d.kill()
    first = make_due(d, "true", 3 * HOUR + HOUR // 2)
    d.start()
    want = {"missed skip": (0, 4, 0), "missed once": (1, 3, 0), "missed all": (4, 0, 0),
            "overlap skip": (1, 0, 3), "overlap queue": (4, 0, 0), "overlap allow": (4, 0, 0),
            "paused": (0, 0, 0)}
    with d.client() as c:
        def counts():
            list_ = c.call("schedule_list", {})["schedules"]
            return {s["name"]: (s["runs"], s["missed"], s["skipped"]) for s in list_}
        until(lambda: counts() == want, f"{want}")

        def states(name):
            jobs = c.call("list", {"select": {"schedule": show(d, name)["id"]}})["jobs"]
            return sorted(j["state"] for j in jobs)
        until(lambda: states("overlap allow") == ["running"] * 4, "four at once")
        until(lambda: states("overlap queue") == ["running"] + ["scheduled"] * 3, "one of four")
        # A queued run begins when the one before has ended, however it ended.
        id_ = show(d, "overlap queue")["id"]
        c.call("cancel", {"select": {"schedule": id_, "states": ["running"]}})
        until(lambda: states("overlap queue") == ["cancelled", "running"] + ["scheduled"] * 2,
              "the next one")
        assert show(d, "missed all")["last"] == ms_stamp(first + 3 * HOUR)
        # What a pause passed over was not missed.
        c.call("schedule_resume", {"name": "paused"})
        assert counts()["paused"] == (0, 0, 0)
        assert show(d, "paused")["next"] == ms_stamp(first + 4 * HOUR)


def every_run_is_submitted_once_though_the_daemon_is_killed_again_and_again(d):
    n, due = 8, 900
    d.configure("schedule: {max_missed: 10000}")
    d.start()
    with d.client() as c:
        for i in range(n):
            add(c, f"s{i}", every="1s", missed="all", overlap="allow")
    d.kill()
    first = make_due(d, "true", due * 1000)

    def runs():
        return rows(d, "SELECT sum(runs) FROM schedule")[0][0]
    for share in (0.0, 0.05, 0.2, 0.4, 0.6, 0.8):  # of the work, done when it is killed
        d.spawn()
        until(lambda: runs() >= share * n * due, "the work to begin")
        d.kill()
    d.start()
    until(lambda: all(show(d, f"s{i}")["runs"] >= due for i in range(n)), "all that was due")
    assert d.stop() == 0
    for id_, last, ran in rows(d, "SELECT id, last_at, runs FROM schedule"):
        nominal = (last - first) // 1000 + 1
        (batches,), = rows(d, "SELECT count(*) FROM batch WHERE schedule = ?", id_)
        assert batches == ran == nominal, (id_, batches, ran, nominal)


def runs_wait_while_there_is_no_room_for_their_jobs(d):
    d.configure("limits: {backlog: 2}")
    d.start()
    with d.client() as c:
        full = c.call("submit", {"jobs": [LONG, LONG]})["batch"]
        add(c, "held", at="2020-01-01T00:00:00Z")
        until(lambda: "wait until there is room" in d.log(), "the log to say so")
        assert c.refused("schedule_run", {"name": "held"})[0] == "busy"
        assert show(d, "held")["runs"] == 0
        c.call("batch_cancel", {"batch": full})
        until(lambda: show(d, "held")["runs"] == 1, "the run")


def nudge_clock():
    """Sets the clock forward by a nanosecond. False: only root may."""
    timex = bytearray(256)
    struct.pack_into("=I", timex, 0, 0x2100)  # modes: ADJ_SETOFFSET | ADJ_NANO
    struct.pack_into("=qq", timex, 72, 0, 1)  # time
    buf = (ctypes.c_char * len(timex)).from_buffer(timex)
    return ctypes.CDLL(None).adjtimex(buf) >= 0


def a_clock_that_is_set_is_heard_of(d):
    d.start()
    with d.client() as c:
        c.call("ping", {})
        if nudge_clock():
            until(lambda: "clock was set" in d.log(), "the news")


# --- calls ------------------------------------------------------------------------------------


def a_request_sent_twice_is_carried_out_once(d):
    d.start()
    with d.client() as c:
        def twice(method, args):
            id_ = base64.b64encode(f"{method:16.16}".encode()).decode()
            got = []
            for _ in range(2):
                c.line(json.dumps({method: args, "request_id": id_}))
                got.append(c.receive())
            return got
        a, b = twice("schedule_add", {"spec": {"name": "one", "every": "1h", "jobs": [SUM]}})
        assert a["id"] == b["id"]
        a, b = twice("schedule_run", {"name": "one"})
        assert a["id"] == b["id"] and show(d, "one")["runs"] == 1
        assert twice("schedule_remove", {"name": "one"}) == [{}, {}]
        assert c.refused("schedule_remove", {"name": "one"}) == ("not_found", "name")
        assert c.call("stats", {})["counts"]["total"] == 1


def what_is_wrong_is_named(d):
    d.start()
    with d.client() as c:
        def refused(**spec):
            return c.refused("schedule_add", {"spec": spec})
        assert refused(every="1h") == ("invalid", "spec.jobs")
        assert refused(jobs=[SUM]) == ("invalid", "spec")
        assert refused(cron="* * 0 * *", jobs=[SUM]) == ("invalid", "spec.cron")
        assert refused(every="1h", cron="@daily", jobs=[SUM]) == ("invalid", "spec.cron")
        assert refused(cron="@daily", tz="Mars/X", jobs=[SUM]) == ("invalid", "spec.tz")
        assert refused(every="1h", jobs=[SUM, {"fetch": {"url": "gopher://x/"}}])[1] == (
            "spec.jobs[1].fetch.url")
        assert refused(every="1h", jobs=[{**SUM, "key": "k"}]) == ("invalid", "spec.jobs[0].key")
        assert refused(every="1h", jobs=[{**SUM, "at": stamp(2e9)}])[1] == "spec.jobs[0].at"
        assert refused(every="1h", jobs=[SUM], name="12") == ("invalid", "spec.name")
        assert refused(every="1h", jobs=[SUM], batch={"deadline": stamp(2e9)})[1] == (
            "spec.batch.deadline")
        assert refused(every="1h", jobs=[SUM] * 10001)[0] == "too_large"
        assert c.refused("schedule_get", {}) == ("invalid", "schedule")
        assert c.refused("schedule_get", {"schedule": 9}) == ("not_found", "schedule")
        add(c, "one", every="1h")
        assert refused(name="one", every="2h", jobs=[SUM]) == ("conflict", "spec.name")
        dry = {"dry_run": True, "spec": {"name": "two", "every": "1h", "jobs": [SUM]}}
        assert "id" not in c.call("schedule_add", dry)
        dry["spec"]["name"] = "one"
        assert c.refused("schedule_add", dry) == ("conflict", "spec.name")
        assert [s["name"] for s in c.call("schedule_list", {})["schedules"]] == ["one"]
        assert c.call("stats", {})["schedules"] == 1


def a_long_list_comes_in_pages(d):
    d.start()
    with d.client() as c:
        for i in range(50):
            c.send("schedule_add", {"spec": {"name": f"n{i}", "every": "1h", "jobs": [SUM]}})
            c.receive()
        got, after = [], 0
        while after is not None:
            rep = c.call("schedule_list", {"limit": 20, "after": after})
            got += [s["name"] for s in rep.get("schedules", [])]
            after = rep.get("next")
        assert got == [f"n{i}" for i in range(50)]


def a_name_that_is_open_elsewhere_is_left_alone(d):
    d.start()
    with d.client() as c:
        mine = c.call("batch_open", {"spec": {"name": "nightly"}})["id"]
        add(c, "nightly", every="1h", batch={"timeout": "5m", "fail_fast": True,
                                             "labels": {"team": "a"}})
        run = c.call("schedule_run", {"name": "nightly"})
        assert run["id"] != mine and run["name"] == "nightly" and run["fail_fast"], run
        assert "deadline" in run
        assert c.call("batch_get", {"batch": mine})["state"] == "open"
        c.wait(run["id"])


def the_jobs_of_a_run_may_wait_for_each_other(d):
    fan_in = [{"sum": {"numbers": [1, 2]}}, {"sum": {"numbers": [3, 4]}},
              {"sum": {"results": "sum.sum"}, "needs": {"siblings": [0, 1]}}]
    d.start()
    with d.client() as c:
        def refused(*jobs):
            return c.refused("schedule_add", {"spec": {"every": "1h", "jobs": list(jobs)}})
        assert refused(*fan_in[:1], {**SUM, "needs": {"siblings": [2]}}) == (
            "invalid", "spec.jobs[1].needs.siblings[0]")
        assert refused({**SUM, "needs": {"siblings": [1]}},
                       {**SUM, "needs": {"siblings": [0]}})[1].endswith("siblings[0]")
        add(c, "fan in", every="1h", overlap="queue", missed="all", jobs=fan_in)
        jobs = c.wait(c.call("schedule_run", {"name": "fan in"})["id"])
        assert [j["sum"]["sum"] for _, j in sorted(jobs.items())] == [3, 7, 10]
        # A named batch is the newest of that name when the run comes.
        add(c, "adds up", every="1h", jobs=[{"sum": {"results": "sum.sum"},
                                             "needs": {"batch_names": ["src"]}}])
        assert c.refused("schedule_run", {"name": "adds up"})[0] == "invalid"
        for n in (5, 6):
            c.call("submit", {"jobs": [{"sum": {"numbers": [n, n]}}], "batch_name": "src"})
            got = c.wait(c.call("schedule_run", {"name": "adds up"})["id"])
            assert [j["sum"]["sum"] for j in got.values()] == [2 * n], got
    # Runs in a line: what a run waits for is no part of what its jobs add up.
    d.kill()
    make_due(d, "true", 2 * HOUR + HOUR // 2)
    d.start()
    with d.client() as c:
        until(lambda: show(d, "fan in")["runs"] == 4, "three more")
        for (batch,) in rows(d, "SELECT id FROM batch WHERE schedule = 1"):
            jobs = c.wait(batch)
            assert [j["sum"]["sum"] for _, j in sorted(jobs.items())] == [3, 7, 10], jobs


def events_tell_what_happened(d):
    d.start()
    with d.client() as c:
        id_ = add(c, "one", every="1h", paused=True)["id"]
        c.call("schedule_resume", {"schedule": id_})
        c.call("schedule_pause", {"schedule": id_})
        run = c.call("schedule_run", {"schedule": id_})["id"]
        c.call("schedule_add", {"replace": True,
                                "spec": {"name": "one", "every": "2h", "jobs": [SUM]}})
        c.call("schedule_remove", {"schedule": id_})
        events = c.call("events", {"after": 0, "timeout": "0s"})["events"]
    got = [e["schedule"] for e in events if "schedule" in e]
    assert [e["change"] for e in got] == ["added", "resumed", "paused", "fired", "changed",
                                          "removed"], got
    assert got[1]["paused"] is False and got[2]["paused"] is True
    assert got[3]["last_batch"] == run and all(e["id"] == id_ for e in got)


# --- the configuration ------------------------------------------------------------------------

CONFIG = """
schedules:
  - {name: a, every: 1h, jobs: [{sum: {numbers: [%d]}}]}
  - {name: b, cron: '%s', jobs: [{sum: {numbers: [1]}}]}
"""


def reload(d):
    said = d.log().count("configuration")
    d.process.send_signal(signal.SIGHUP)
    until(lambda: d.log().count("configuration") > said and
          d.log().rstrip().splitlines()[-1].count("configuration"), "the reload")


def schedules_of_the_configuration_follow_it(d):
    d.configure(CONFIG % (1, "@daily"))
    d.start()
    with d.client() as c:
        assert show(d, "a")["config"] and show(d, "b")["config"]
        before = show(d, "a")
        assert c.refused("schedule_remove", {"name": "a"}) == ("conflict", "schedule")
        assert c.refused("schedule_add", {"replace": True, "spec": {
            "name": "a", "every": "1h", "jobs": [SUM]}}) == ("conflict", "spec.name")
        c.call("schedule_pause", {"name": "b"})
        add(c, "mine", every="1h")
        # As it was: nothing changes, the pause lasts, over a restart as well.
        d.stop()
        d.start()
        assert show(d, "a") == before and show(d, "b")["paused"]
        # One is changed, one is gone, one takes the place of a client's.
        id_ = show(d, "mine")["id"]
        d.configure("schedules: [{name: b, cron: '@hourly', jobs: [{sum: {numbers: [1]}}]},"
                    " {name: mine, every: 2h, jobs: [{sum: {numbers: [1]}}]}]")
        reload(d)
        until(lambda: not show(d, "b")["paused"], "the new b")
        names = [s["name"] for s in c.call("schedule_list", {})["schedules"]]
        assert names == ["b", "mine"], names
        assert show(d, "mine")["config"] and show(d, "mine")["id"] == id_
        # What is wrong changes nothing.
        d.configure(CONFIG % (1, "61 * * * *"))
        reload(d)
        assert [s["name"] for s in c.call("schedule_list", {})["schedules"]] == names
        assert "schedules[1].cron: minute: 61 is not in 0-59 (column 1)" in d.log()
        d.configure("")
        reload(d)
        until(lambda: c.call("schedule_list", {}) == {}, "none")


def check_config_knows_what_a_schedule_may_say(d):
    def check(text, want):
        d.configure(text)
        r = subprocess.run([d.gojobd, "--config", d.config, "--check-config"], text=True,
                           capture_output=True, timeout=daemon.LIMIT, check=False)
        assert r.returncode == 78 and re.search(want, r.stderr), r.stderr
    check(CONFIG % (1, "0 8 * * fry"), r"yaml:8:\d+: schedules\[1\]\.cron: .*\(column 9\)")
    check("schedules: [{name: a, every: 1h, tz: X, jobs: [{read: {path: ''}}]}]",
          r"yaml:5:\d+: schedules\[0\]\.(tz|jobs\[0\]\.read\.path): ")
    check("schedules: [{name: '1', every: 1h, jobs: [{sum: {numbers: [1]}}]}]",
          r"schedules\[0\]\.name: ")
    r = subprocess.run([d.gojobd, "--config", d.config], text=True, capture_output=True,
                       timeout=daemon.LIMIT, check=False)
    assert r.returncode == 1 and "cannot start: " in r.stderr, r.stderr


# --- goctl ------------------------------------------------------------------------------------


def submit_makes_schedules(d):
    d.start()
    out = goctl(d, "submit", "sum", "1", "2", "--cron", "0 8 * * *", "--tz", "Europe/Berlin",
                "--missed", "all", "--overlap", "queue", "--jitter", "10s", "--name", "eight",
                "--deadline", "5m", "--retries", "2")
    assert re.fullmatch(r'schedule \d+ "eight": next [0-9-]+ [0-9:]+\n', out), out
    spec = show(d, "eight")["spec"]
    assert spec == {"name": "eight", "cron": "0 8 * * *", "tz": "Europe/Berlin", "missed": "all",
                    "overlap": "queue", "jitter": "10s", "batch": {"timeout": "300s"},
                    "jobs": [{"retries": 2, "sum": {"numbers": [1, 2]}}]}, spec
    one = json.loads(goctl(d, "submit", "sum", "1", "--every", "1h", "--at",
                           "2099-12-01 08:00", "--json"))
    assert one["next"] == "2099-12-01T08:00:00Z" and "at" not in one["spec"]["jobs"][0]
    out = goctl(d, "submit", "-f", "-", "--cron", "@daily", "--name", "file",
                stdin='{"sum":{"numbers":[1]}}\n\n{"sum":{"numbers":[2]}}\n')
    assert len(show(d, "file")["spec"]["jobs"]) == 2, out
    assert "stdin:3: " in goctl(d, "submit", "-f", "-", "--cron", "@daily", code=4, stdin=(
        '{"sum":{"numbers":[1]}}\n\n{"fetch":{"url":"gopher://x/"}}\n'))
    # A timer's own every.
    goctl(d, "submit", "timer", "--every", "1ms", "--wait")
    goctl(d, "submit", "timer", "--every", "2s", "--cron", "@daily", "--name", "t1")
    goctl(d, "submit", "timer", "--tick", "3s", "--every", "1h", "--name", "t2")
    assert show(d, "t1")["spec"]["jobs"] == [{"timer": {"every": "2s"}}]
    assert show(d, "t2")["spec"]["jobs"] == [{"timer": {"every": "3s"}}]
    assert show(d, "t2")["spec"]["every"] == "3600s"


def submit_at_and_after_are_the_jobs_own(d):
    d.start()
    goctl(d, "submit", "sum", "1", "2", "--at", "2099-12-01 08:00")
    goctl(d, "submit", "-f", "-", "--after", "1h",
          stdin='{"sum":{"numbers":[1]}}\n{"sum":{"numbers":[1]},"at":"2099-12-02T00:00:00Z"}\n')
    with d.client() as c:
        jobs = c.call("list", {"select": {"states": ["scheduled"]}})["jobs"]
        assert c.call("schedule_list", {}) == {}
    at = sorted(j["run_at"] for j in jobs)
    assert at[1:] == ["2099-12-01T08:00:00Z", "2099-12-02T00:00:00Z"] and at[0] < "2099"
    assert goctl(d, "submit", "timer", "--every", "1ms", "--after", "10ms", "--wait")


def what_goctl_says_of_wrong_schedules(d):
    d.start()

    def wrong(code, want, *args):
        said = goctl(d, *args, code=code)
        assert re.search(want, said), said
    wrong(4, r"hour: 25 is not in 0-23 \(column 3\)", "submit", "sum", "1", "--cron",
          "0 25 * * *")
    wrong(4, r"\(column 20\)", "submit", "sum", "1", "--cron", "TZ=UTC 0 8 * * mon,foo")
    wrong(4, "five are needed", "submit", "sum", "1", "--cron", "0 8 *")
    wrong(4, "no time zone", "submit", "sum", "1", "--cron", "@daily", "--tz", "Nowhere/X")
    wrong(2, "--tz is a schedule's", "submit", "sum", "1", "--tz", "UTC")
    wrong(2, "beside --tick", "submit", "timer", "--every", "1s", "--jitter", "1s")
    wrong(2, "expected one of skip", "submit", "sum", "1", "--every", "1h", "--overlap", "no")
    wrong(2, "no end to wait for", "submit", "sum", "1", "--every", "1h", "--wait")
    wrong(2, "batch of its own", "submit", "sum", "1", "--every", "1h", "--batch", "b")
    wrong(2, "either --at or --after", "schedule", "add", "--at", "2099-01-01", "--after", "1h",
          "sum", "1")
    wrong(2, "when\\?", "schedule", "add", "sum", "1")
    wrong(2, "needs --tick", "schedule", "add", "--every", "1h", "timer")
    wrong(2, "no kind of job", "schedule", "add", "--every", "1h", "smu", "1")
    wrong(4, "there is no schedule", "schedule", "pause", "none")
    wrong(2, "of which", "schedule", "next")
    wrong(2, "not a number of times", "schedule", "next", "none", "x")
    wrong(2, "not both", "schedule", "next", "none", "3", "--cron", "@daily")


def lists_are_for_people(d):
    d.configure(CONFIG % (1, "@daily"))
    d.start()
    goctl(d, "schedule", "add", "--every", "1h", "--name", "c", "--paused", "sum", "1")
    goctl(d, "schedule", "run-now", "c")
    head, a, b, c = goctl(d, "schedule", "ls").splitlines()
    assert head.split() == ["ID", "NAME", "STATE", "WHEN", "NEXT", "LAST", "BATCH", "RUNS",
                            "MISSED", "SKIPPED", "FROM"], head
    assert re.match(r" *1 +a +active +every 1h00m +\d{4}-\S+ \S+ +0 +0 +0 +config$", a), a
    assert re.match(r" *2 +b +active +@daily +\d{4}-\S+ 00:00:00 +0 +0 +0 +config$", b), b
    assert re.match(r" *3 +c +paused +every 1h00m +\d{4}-\S+ \S+ +1 +1 +0 +0 *$", c), c
    assert len(goctl(d, "ls", "--schedule", "c").splitlines()) == 2
    assert goctl(d, "ls", "--schedule", "c") == goctl(d, "ls", "--schedule", "3")
    assert len(goctl(d, "ls", "--schedule", "b").splitlines()) < 2
    assert 'no schedule "z"' in goctl(d, "cancel", "--schedule", "z", code=4)
    assert len(goctl(d, "schedule", "next", "b", "3").splitlines()) == 3
    assert len(goctl(d, "schedule", "next", "b", "--count", "4").splitlines()) == 4
    assert goctl(d, "schedule", "next", "--every", "1h", "--at", "2099-01-01", "1") == (
        "2099-01-01 00:00:00\n")


def every_example_runs(d):
    """Those of goctl's help on schedules, and those of the manual, in the order they stand."""
    d.configure(f"files: {{roots: ['{d.dir}/files', /var/log]}}\nfetch: {{allow: [127.0.0.0/8]}}")
    text = open(d.config).read().replace(f"files: {{roots: ['{d.dir}/files']}}\n", "")
    with open(d.config, "w") as f:
        f.write(text)
    d.start()
    with open(f"{d.dir}/jobs.json", "w") as f:
        f.write('{"sum": {"numbers": [1]}}\n')
    ran = 0

    def run(line):
        nonlocal ran
        ran += 1
        r = subprocess.run(shlex.split(line), cwd=d.dir, env=environment(d), text=True,
                           capture_output=True, timeout=daemon.LIMIT, check=False)
        assert r.returncode == 0, f"{line}: {r.stdout}{r.stderr}"
    words = ("add", "ls", "show", "next", "pause", "resume", "run-now", "rm")
    for word in words:
        run(re.search(r"Example\n  (goctl .*)\n", goctl(d, "help", "schedule", word)).group(1))
    assert d.call("schedule_list", {}) == {}
    with open(f"{SOURCE}/docs/schedules.md") as f:
        for line in f:
            if line.startswith("    goctl "):
                run(line.strip())
    assert ran > 20, ran


if __name__ == "__main__":
    daemon.main([
        a_schedule_of_every_second_runs_every_second_and_never_early,
        one_at_a_time_runs_once_and_is_over,
        previews_are_the_times_of_the_zone,
        a_restart_makes_up_by_each_policy,
        every_run_is_submitted_once_though_the_daemon_is_killed_again_and_again,
        runs_wait_while_there_is_no_room_for_their_jobs,
        a_clock_that_is_set_is_heard_of,
        a_request_sent_twice_is_carried_out_once,
        what_is_wrong_is_named,
        a_long_list_comes_in_pages,
        a_name_that_is_open_elsewhere_is_left_alone,
        the_jobs_of_a_run_may_wait_for_each_other,
        events_tell_what_happened,
        schedules_of_the_configuration_follow_it,
        check_config_knows_what_a_schedule_may_say,
        submit_makes_schedules,
        submit_at_and_after_are_the_jobs_own,
        what_goctl_says_of_wrong_schedules,
        lists_are_for_people,
        every_example_runs,
    ])
