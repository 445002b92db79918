#!/usr/bin/env python3
"""usage: test_watch.py GOJOBD RPC GOCTL SUB: events of a real daemon, by call, by goctl watch
and over the real PUB socket; prints TAP."""
import contextlib
import json
import re
import signal
import subprocess
import sys

from daemon import LIMIT, main, until

GOCTL, SUB = sys.argv[3:5]
SUM = {"sum": {"numbers": [1, 2, 3]}}


@contextlib.contextmanager
def running(*command, **more):
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          **more) as p:
        try:
            yield p
        finally:
            p.kill()


def watch(d, *args):
    return running(GOCTL, "-u", d.url, "watch", *args)


def waiters(d):
    return d.call("stats", {})["waiters"]


def read_until(p, last):
    """Lines of JSON up to the one for which last() is true."""
    lines = []
    while True:
        text = p.stdout.readline()
        assert text, f"it ended after {lines[-3:]}: {p.stderr.read()}"
        lines.append(json.loads(text))
        if last(lines[-1]):
            return lines


def batch_ended(batch):
    return lambda e: e.get("batch", {}).get("id") == batch and "state" in e["batch"]


def states(events, job):
    return [e["job"]["state"] for e in events if e.get("job", {}).get("id") == job]


def a_job_is_told_from_queued_to_its_result(d):
    d.start()
    with watch(d, "--json", "--no-progress") as w:
        until(lambda: waiters(d) == 1, "the watcher waits")
        with d.client() as c:
            job = c.run({**SUM, "name": "six", "labels": {"a": "b"}})[0]
        events = read_until(w, batch_ended(job["batch"]))
    assert states(events, job["id"]) == ["queued", "running", "succeeded"], events
    seqs = [e["seq"] for e in events]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), seqs
    first, last = events[0]["job"], events[-2]["job"]
    assert first["kind"] == "sum" and first["name"] == "six", first
    assert first["labels"] == {"a": "b"} and "sum" not in first, first
    assert last["sum"] == {"count": 3, "sum": 6} and last["attempt"] == 1, last


def watching_goes_on_without_a_gap_after_kill_9(d):
    d.start()
    with watch(d, "--json", "--no-progress", "--since", "0") as w, d.client() as c:
        until(lambda: waiters(d) == 1, "the watcher waits")  # it does not retry its first call
        ids = []
        for _ in range(3):
            ids += c.call("submit", {"jobs": [SUM] * 200})["ids"]
            d.kill()  # some ran, some run, some wait
            d.start()
        last = c.run(SUM)[0]
        events = read_until(w, batch_ended(last["batch"]))
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    stored = []
    with d.client() as c:
        while len(stored) < len(events):
            got = c.call("events", {"after": len(stored), "limit": 100, "timeout": "0s"})
            stored += got["events"]
    assert [e["time"] for e in stored] == [e["time"] for e in events]
    for i in ids:
        assert states(events, i).count("succeeded") == 1, i


def events_are_selected_by_what_their_job_is(d):
    d.start()
    with d.client() as c:
        c.call("queue_set", {"name": "slow"})
        red, blue, named, slow, bad = (c.run(spec)[0] for spec in (
            {**SUM, "labels": {"colour": "red", "deep": "yes"}},
            {**SUM, "labels": {"colour": "blue"}},
            {**SUM, "name": "nora"},
            {**SUM, "queue": "slow"},
            {"read": {"path": f"{d.dir}/files/none"}}))
        batch = c.call("submit", {"jobs": [SUM], "options": {"labels": {"colour": "red"}}})
        c.wait(batch["batch"])

        def selected(**select):
            got = c.call("events", {"after": 0, "select": select, "timeout": "0s"})
            events = got.get("events", [])
            assert all("job" in e for e in events), events
            return {e["job"]["id"] for e in events}

        of_batch = batch["ids"][0]
        assert selected(labels={"colour": "red"}) == {red["id"], of_batch}
        assert selected(labels={"colour": ""}) == {red["id"], blue["id"], of_batch}
        assert selected(labels={"colour": "red", "deep": "yes"}) == {red["id"]}
        assert selected(name="nora") == {named["id"]}
        assert selected(queue="slow") == {slow["id"]}
        assert selected(queue="unknown") == set()
        assert selected(kinds=["read"]) == {bad["id"]}
        assert selected(states=["failed"]) == {bad["id"]}
        assert selected(kinds=["sum"], states=["failed"]) == set()
        assert selected(jobs=[red["id"], blue["id"]]) == {red["id"], blue["id"]}
        got = c.call("events", {"after": 0, "select": {"batch": red["batch"]}, "timeout": "0s"})
        assert ["batch" in e for e in got["events"]] == [False, False, False, True], got
        error = c.call("events", {"after": 0, "select": {"states": ["failed"]}, "timeout": "0s"})
        assert error["events"][0]["job"]["error"]["code"] == "not_found", error
        assert c.refused("events", {"select": {"batch_name": "none"}})[0] == "not_found"
        assert c.refused("events", {"select": {"finished_before": "2030-01-01T00:00:00Z"}}) == \
            ("invalid", "select.finished_before")


def a_named_batch_is_watched_beyond_its_closing(d):
    d.start()
    with d.client() as c:
        batch = c.call("batch_open", {"spec": {"name": "nightly"}})["id"]
        with watch(d, "--batch", "nightly", "--json") as w:
            until(lambda: waiters(d) == 1, "the watcher waits")
            c.run(SUM)  # of another batch
            c.call("submit", {"jobs": [SUM], "batch_name": "nightly"})
            c.call("batch_close", {"name": "nightly"})
            events = read_until(w, batch_ended(batch))
        assert {e.get("job", e.get("batch", {})).get("batch", batch) for e in events} == {batch}
        assert events[-1]["batch"]["state"] == "done"


def the_progress_of_running_jobs_is_told(d):
    d.start()
    with d.client() as c, watch(d, "-l", "what=tick", "--json") as w:
        until(lambda: waiters(d) == 1, "the watcher waits")
        rep = c.call("submit", {"jobs": [
            {"timer": {"every": "20ms", "count": 100000}, "labels": {"what": "tick"}},
            {"timer": {"every": "20ms", "count": 100000}}]})
        job, other = rep["ids"]
        told = lambda e: e.get("progress", {}).get("progress", {}).get("done", 0) >= 5
        events = read_until(w, told)
        assert other not in [e["progress"]["job"] for e in events if "progress" in e]
        few = c.call("events", {"after": rep["ids"][0] + 100, "progress": True, "limit": 1,
                                "progress_after": 1, "timeout": "20s"})
        assert [list(e) for e in few["events"]] == [["seq", "time", "progress"]], few
        last = events[-1]["progress"]
        assert last["job"] == job and last["batch"] == rep["batch"], last
        assert last["progress"]["total"] == 100000 and last["progress"]["unit"] == "ticks"
        assert re.match(r"20\d\d-\d\d-\d\dT", last["tick"]), last
        for found in (c.call("get", {"job": job}),
                      c.call("list", {"select": {"jobs": [job]}})["jobs"][0],
                      next(j for j in c.call("stats", {"running": True})["running"]
                           if j["id"] == job)):
            assert found["progress"]["done"] >= 5, found
        ls = subprocess.run([GOCTL, "-u", d.url, "ls"], capture_output=True, text=True,
                            timeout=LIMIT, check=True).stdout
        assert re.search(r"timer +running .* of 100000 ticks", ls), ls
        c.call("cancel", {"select": {"batch": rep["batch"]}})
        read_until(w, lambda e: e.get("job", {}).get("state") == "cancelled")


def people_read_what_came_of_a_job(d):
    d.start()
    with d.client() as c:
        ok, bad = c.run(SUM)[0], c.run({"read": {"path": "/none", "glob": False}})[0]
        with watch(d, "--since", "0") as w:
            lines = [w.stdout.readline() for _ in range(8)]
    text = "".join(lines)
    assert "\033" not in text
    assert re.search(rf"job {ok['id']} \(batch {ok['batch']}, sum\) succeeded: 6\n", text), text
    assert re.search(rf"job {bad['id']} .*\) failed: denied: ", text), text
    assert f" batch {ok['batch']} done\n" in text, text


def subscribers_get_what_happens_by_topic(d):
    d.start()
    url = f"ipc://{d.dir}/e.sock"
    with running(SUB, url, "") as every, running(SUB, url, "b/2/", "b/0/") as second, \
            d.client() as c:
        def take_one(s):
            topic, text = s.stdout.readline().split(" ", 1)
            return topic, json.loads(text)

        for s in (every, second):
            topic, event = take_one(s)
            assert topic == "b/0/" and event["daemon"]["state"] == "running", event
        jobs = [c.run(SUM)[0] for _ in range(3)]

        def take(s, batch):
            events = []
            while True:
                topic, event = take_one(s)
                if "progress" in event or "daemon" in event:
                    continue
                events.append(event)
                of = events[-1].get("batch", {})
                assert topic == f"b/{of.get('id') or events[-1]['job']['batch']}/"
                if of.get("id") == batch:
                    return events

        only = take(second, 2)
        assert states(only, jobs[1]["id"]) == ["queued", "running", "succeeded"], only
        events = take(every, 1) + take(every, 2) + take(every, 3)
        first = events[0]["seq"]
        assert [e["seq"] for e in events] == list(range(first, first + len(events)))
        timer = c.call("submit", {"jobs": [{"timer": {"every": "10ms", "count": 100000}}]})
        while True:
            ev = take_one(every)[1]
            if ev.get("progress", {}).get("job") == timer["ids"][0]:
                break
        assert ev["seq"] == events[-1]["seq"] + 2, ev  # that of the last stored: it runs
        c.call("queue_set", {"name": "slow", "limits": {"running": 3}})
        while "queue" not in ev:
            topic, ev = take_one(every)
        assert topic == "b/0/" and ev["queue"]["name"] == "slow", ev
        assert ev["queue"]["limits"]["running"] == 3, ev
        got = c.call("events", {"after": ev["seq"] - 1, "limit": 1})["events"][0]
        assert got["queue"] == ev["queue"], (got, ev)
        c.call("cancel", {"select": {"batch": timer["batch"]}})
        d.process.send_signal(signal.SIGTERM)
        while ev.get("daemon", {}).get("state") != "draining":
            ev = take_one(every)[1]


def stats_tell_rates_commits_and_unfinished_batches(d):
    d.start()
    with d.client() as c:
        c.call("queue_set", {"name": "quick"})
        c.run(*[{**SUM, "queue": "quick"}] * 500)
        opened = c.call("batch_open", {"spec": {"name": "later"}})["id"]
        s = c.call("stats", {"queues": True})
        assert s["submit_rate"] > 0 and s["finish_rate"] > 0, s
        rates = {q["name"]: q["started_rate"] for q in s["queues"]}
        assert rates["quick"] > 0 and rates["default"] == 0, rates
        store = s["store"]
        assert store["writes"] >= store["commits"] > 0 and store["schema"] >= 1, store
        assert store["commit_avg"] != "0s" and store["commit_max"] != "0s", store
        assert [b["id"] for b in s["batches"]] == [opened], s["batches"]


main([a_job_is_told_from_queued_to_its_result, watching_goes_on_without_a_gap_after_kill_9,
      events_are_selected_by_what_their_job_is, a_named_batch_is_watched_beyond_its_closing,
      the_progress_of_running_jobs_is_told, people_read_what_came_of_a_job,
      subscribers_get_what_happens_by_topic,
      stats_tell_rates_commits_and_unfinished_batches])
