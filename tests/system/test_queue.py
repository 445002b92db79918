#!/usr/bin/env python3
"""usage: test_queue.py GOJOBD RPC GOCTL: queues, back-pressure, retries, bulk calls; prints TAP."""
import signal
from datetime import datetime

from cli import (answer, begin, complaint, equal, holds, ids, lines, row, rows, run, states)
from daemon import LIMIT, main, until

HOUR = ("timer", "--every", "1h")


def plus(*numbers, **more):
    return {"sum": {"numbers": list(numbers)}, **more}


def queue(d, name):
    return next(q for q in rows(d, "queue", "ls") if q["name"] == name)


# --- queues -----------------------------------------------------------------------------------

def a_queue_runs_so_many_at_once(d):
    d.start()
    equal(row(d, "queue", "set", "mail", "--running", "2")["limits"]["running"], 2)
    jobs = ids(d, "submit", "-f", "-", "--queue", "mail",
               stdin=lines(*[{"timer": {"every": "1h"}}] * 4))
    until(lambda: queue(d, "mail")["running"] == 2, "two run")
    equal(queue(d, "mail")["queued"], 2)
    equal(row(d, "why", str(jobs[3]))["limit"], "queue.running")
    answer(d, "queue", "set", "mail", "--running", "3")
    until(lambda: queue(d, "mail")["running"] == 3, "a third runs")
    answer(d, "cancel", str(jobs[0]))
    until(lambda: states(d)[jobs[3]] == "running", "the fourth runs")


def a_paused_queue_starts_nothing_until_it_is_resumed(d):
    d.start()
    answer(d, "queue", "set", "mail", "--running", "5")
    equal(row(d, "queue", "pause", "mail")["limits"]["paused"], True)
    job = ids(d, "submit", "sum", "1", "--queue", "mail")[0]
    answer(d, "submit", "sum", "2", "--wait")  # another queue goes on
    equal(states(d)[job], "queued")
    equal(row(d, "why", str(job))["reason"], "paused")
    answer(d, "queue", "resume", "mail")
    equal(answer(d, "wait", "--queue", "mail"), "1\n")
    for command in ("pause", "resume"):
        holds(complaint(d, "queue", command, "nope", code=4), "no queue")
        holds(complaint(d, "queue", command, code=2), "usage")


def many_paused_queues_keep_nobody_waiting(d):
    names = [f"q{n}" for n in range(300)]  # more than the daemon looks at in one go
    d.configure("queues: {" + ", ".join(f"{n}: {{paused: true}}" for n in names) + "}")
    d.start()
    tick = {"timer": {"after": "1ms"}}
    ids(d, "submit", "-f", "-", stdin=lines(*[{**tick, "queue": n} for n in names]))
    answer(d, "submit", "timer", "--every", "1ms", "--queue", "zeal", "--wait",
           "--deadline", f"{LIMIT}s")


def spread_of_starts(d):
    """In seconds. As text "28Z" would come after "28.5Z"."""
    times = [datetime.fromisoformat(d.call("get", {"job": j})["started"]) for j in states(d)]
    return (max(times) - min(times)).total_seconds()


def a_rate_spreads_the_starts(d):
    d.start()
    answer(d, "queue", "set", "slow", "--rate", "20", "--burst", "3")
    ids(d, "submit", "-f", "-", "--queue", "slow", stdin=lines(*map(plus, range(9))))
    answer(d, "wait", "1")
    # Three at once, six more at 20 a second: 0.3 s, counted in milliseconds.
    spread = spread_of_starts(d)
    assert spread > 0.29, f"nine starts within {spread} s"
    equal(queue(d, "slow")["limits"]["burst"], 3)
    answer(d, "queue", "set", "slow", "--rate", "0.001", "--burst", "1")
    answer(d, "submit", "sum", "1", "--queue", "slow")
    job = ids(d, "submit", "sum", "1", "--queue", "slow")[0]
    equal(row(d, "why", str(job))["limit"], "queue.rate")


def kinds_share_the_rate_of_their_queue(d):
    d.start()
    answer(d, "queue", "set", "slow", "--rate", "10", "--burst", "2")
    jobs = [plus(1), {"timer": {"every": "1ms"}}] * 4
    answer(d, "submit", "-f", "-", "--queue", "slow", "--wait", stdin=lines(*jobs))
    spread = spread_of_starts(d)
    assert spread > 0.59, f"eight starts within {spread} s"


def limits_set_by_hand_hold_until_the_file_changes(d):
    d.configure("queues: {mail: {running: 2}}")
    d.start()
    equal(queue(d, "mail")["limits"]["running"], 2)
    answer(d, "queue", "set", "mail", "--running", "7", "--rate", "2.5", "--burst", "4")
    answer(d, "queue", "pause", "mail")
    answer(d, "queue", "set", "own", "--running", "1")
    mine = {"running": 7, "rate": 2.5, "burst": 4, "paused": True}
    for end in (d.stop, d.kill):
        end()
        d.start()
        equal(queue(d, "mail")["limits"], mine)
        equal(queue(d, "own")["limits"]["running"], 1)
    d.process.send_signal(signal.SIGHUP)
    until(lambda: "read again" in d.log(), "the daemon reads its configuration")
    equal(queue(d, "mail")["limits"], mine)
    d.configure("queues: {mail: {running: 3}}")
    d.process.send_signal(signal.SIGHUP)
    until(lambda: queue(d, "mail")["limits"]["running"] == 3, "the file counts")
    equal(queue(d, "mail")["limits"]["paused"], False)


def limits_that_make_no_sense_are_refused(d):
    d.start()
    holds(complaint(d, "queue", "set", "mail", code=2), "set what")
    holds(complaint(d, "queue", "set", "mail", "--rate", "fast", code=2), "not a number")
    holds(complaint(d, "queue", "set", "m" * 65, "--rate", "1", code=4), "1 to 64 bytes")
    holds(complaint(d, "queue", "ls", "mail", code=2), "too many")


# --- back-pressure ----------------------------------------------------------------------------

def a_full_backlog_refuses_and_goctl_waits_for_room(d):
    d.configure("limits: {backlog: 10}")
    d.start()
    held = ids(d, "submit", "-f", "-", stdin=lines(*[{"timer": {"every": "1h"}}] * 10))
    with d.client() as c:
        equal(c.refused("submit", {"jobs": [plus(1)]})[0], "busy")
    with open(f"{d.dir}/jobs", "w", encoding="utf-8") as f:
        f.write(lines(*map(plus, range(25))))  # more than the limit in one message
    p = begin(d, "submit", "-f", f"{d.dir}/jobs", "--wait")
    holds(p.stderr.readline(), "busy", "limits.backlog")
    equal(p.poll(), None)
    answer(d, "cancel", *map(str, held))
    out, err = p.communicate(timeout=LIMIT)
    equal((p.returncode, out.count("\n")), (0, 25))
    equal("busy" in err, False)  # told once


def a_full_disk_refuses_until_there_is_room(d):
    d.configure("limits: {disk_free: 1000TiB}")
    d.start()
    refused = lambda c: c.refused("submit", {"jobs": [plus(1)]})[0]
    with d.client() as c:
        equal(refused(c), "busy")
    p = begin(d, "submit", "sum", "1", "2", "--wait")
    holds(p.stderr.readline(), "busy", "limits.disk_free")
    d.configure("limits: {disk_free: 1MiB}")
    d.process.send_signal(signal.SIGHUP)
    equal(p.communicate(timeout=LIMIT)[0], "3\n")
    equal(p.returncode, 0)


# --- dead letters -----------------------------------------------------------------------------

def the_error_of_every_attempt_is_kept_within_limits_history(d):
    d.configure("limits: {history: 3}")
    d.start()
    job = row(d, "submit", "read", "nowhere", "--retries", "1", "--backoff", "1ms", "--wait",
              code=1)
    equal((job["state"], job["attempt"]), ("dead", 2))
    holds(answer(d, "ls", "--state", "dead"), "nowhere", "dead")
    shown = row(d, "show", str(job["id"]))
    equal([(a["attempt"], a["error"]["code"]) for a in shown["history"]], [(1, "not_found"), (2, "not_found")])
    holds(answer(d, "show", str(job["id"])), "attempts", "1, ", "2, ")
    holds(answer(d, "retry", "--state", "dead", "--dry-run"), "1 jobs match", str(job["id"]))
    holds(answer(d, "retry", "--state", "dead"), "1 of 1")
    answer(d, "wait", "--state", "dead,queued,running,scheduled", code=1)
    until(lambda: states(d)[job["id"]] == "dead", "it dies again")
    equal([a["attempt"] for a in row(d, "show", str(job["id"]))["history"]], [2, 3, 4])
    with open(f"{d.dir}/files/nowhere", "w", encoding="utf-8") as f:
        f.write("here\n")
    holds(answer(d, "retry", str(job["id"])), "1 of 1")
    answer(d, "wait", str(job["batch"]))
    equal(states(d)[job["id"]], "succeeded")
    holds(answer(d, "retry", str(job["id"]), code=1), "0 of 0")
    holds(complaint(d, "retry", code=2), "which jobs")
    holds(complaint(d, "retry", "x", code=2), "not the number of a job")


def as_many_crashes_as_the_limit_says_make_a_job_dead(d):
    d.configure("limits: {crashes: 1}")
    d.start()
    job = ids(d, "submit", *HOUR)[0]
    until(lambda: states(d)[job] == "running", "it runs")
    d.kill()
    d.start()
    equal(states(d)[job], "dead")
    holds(row(d, "show", str(job))["history"][0]["error"]["message"], "1 of 1")


def the_reason_of_a_cancellation_is_kept(d):
    d.start()
    answer(d, "queue", "set", "held", "--running", "1")
    answer(d, "queue", "pause", "held")
    jobs = ids(d, "submit", *HOUR) + ids(d, "submit", *HOUR, "--queue", "held")
    batch = ids(d, "submit", *HOUR, "--batch", "b")
    until(lambda: states(d)[jobs[0]] == "running", "it runs")
    holds(answer(d, "cancel", *map(str, jobs), "--reason", "obsolete"), "2 of 2")
    holds(answer(d, "cancel", "--batch", "b", "--reason", "all of it"), "1 of 1")
    for job, why in zip(jobs + batch, ("obsolete", "obsolete", "all of it")):
        until(lambda job=job: states(d)[job] == "cancelled", "it is cancelled")
        equal(row(d, "show", str(job))["error"], {"code": "cancelled", "message": why})
    equal(row(d, "batch", "show", "b")["state"], "cancelled")
    holds(complaint(d, "cancel", code=2), "which jobs")


# --- bulk -------------------------------------------------------------------------------------

def purge_takes_every_selector(d):
    d.start()
    mark = lambda *more: ids(d, "submit", "sum", "1", *more)[0]
    jobs = {
        ("--label", "old=1"): mark("--label", "old=1"),
        ("--name", "n"): mark("--name", "n"),
        ("--queue", "q"): mark("--queue", "q"),
        ("--batch", "4"): mark(),
    }
    by_id = mark()
    left = mark()
    read = ids(d, "submit", "read", "nowhere")[0]
    until(lambda: set(states(d).values()) == {"succeeded", "failed"}, "all end")
    for selector, job in jobs.items():
        holds(answer(d, "purge", *selector, "--dry-run"), "1 jobs match", f"\n{job}\n")
        holds(answer(d, "purge", *selector), "1 of 1")
        equal(job in states(d), False)
    holds(answer(d, "purge", "--kind", "read", "--state", "succeeded"), "0 of 0")
    holds(answer(d, "purge", "--kind", "read"), "1 of 1")
    holds(answer(d, "purge", str(by_id)), "1 of 1")
    equal(states(d), {left: "succeeded"})
    holds(answer(d, "purge", "--finished-before", "7d"), "0 of 0")
    holds(answer(d, "purge", "--finished-before", "2001-01-01"), "0 of 0")
    holds(answer(d, "purge", "--finished-before", "0s", "--dry-run"), f"\n{left}\n")
    holds(answer(d, "purge", "--finished-before", "0s"), "1 of 1")
    equal((states(d), read), ({}, 7))
    holds(complaint(d, "purge", "--state", "running", code=4), "only finished")
    holds(complaint(d, "purge", "--finished-before", "soon", code=2), "how long ago")
    holds(complaint(d, "purge", code=2), "which jobs")


def a_dry_run_names_the_first_and_changes_nothing(d):
    d.start()
    jobs = ids(d, "submit", "-f", "-", "--label", "x=1",
               stdin=lines(*[{"timer": {"every": "1h"}}] * 30))
    out = answer(d, "cancel", "-l", "x=1", "--dry-run")
    equal(out, "30 jobs match; nothing was changed\n" + " ".join(map(str, jobs[:20])) + " ...\n")
    equal(row(d, "cancel", "-l", "x=1", "--dry-run")["jobs"], jobs)
    equal(set(states(d).values()) <= {"queued", "running"}, True)
    holds(answer(d, "cancel", "-l", "x=1"), "30 of 30")
    until(lambda: set(states(d).values()) == {"cancelled"}, "those that ran have stopped")
    until(lambda: set(states(d).values()) == {"cancelled"}, "those that ran have ended")
    holds(answer(d, "cancel", "-l", "x=1"), "of 0")
    for more in ((), ("--wait",)):
        holds(answer(d, "submit", "sum", "1", "--dry-run", *more), "nothing was submitted")
    equal(len(states(d)), 30)


def retention_keeps_within_its_bounds(d):
    d.configure("retention: {count: 5, step: 10}")
    d.start()
    answer(d, "submit", "-f", "-", "--wait", stdin=lines(*map(plus, range(60))))
    until(lambda: len(states(d)) == 5, "fifty-five are gone")
    equal(run(d, "check").returncode, 0)


if __name__ == "__main__":
    main([
        a_queue_runs_so_many_at_once,
        a_paused_queue_starts_nothing_until_it_is_resumed,
        many_paused_queues_keep_nobody_waiting,
        a_rate_spreads_the_starts,
        kinds_share_the_rate_of_their_queue,
        limits_set_by_hand_hold_until_the_file_changes,
        limits_that_make_no_sense_are_refused,
        a_full_backlog_refuses_and_goctl_waits_for_room,
        a_full_disk_refuses_until_there_is_room,
        the_error_of_every_attempt_is_kept_within_limits_history,
        as_many_crashes_as_the_limit_says_make_a_job_dead,
        the_reason_of_a_cancellation_is_kept,
        purge_takes_every_selector,
        a_dry_run_names_the_first_and_changes_nothing,
        retention_keeps_within_its_bounds,
    ])
