#!/usr/bin/env python3
"""usage: test_flow.py GOJOBD RPC GOCTL: jobs that wait for jobs and batches; prints TAP."""
import sqlite3

from cli import (answer, complaint, equal, holds, ids, lines, row, rows, states)
from daemon import main, until

HOUR = ("timer", "--every", "1h")
MISSING = {"read": {"path": "/nowhere"}}


def plus(*numbers, **more):
    return {"sum": {"numbers": list(numbers)}, **more}


def over(results="sum.sum", **needs):
    return {"sum": {"results": results}, "needs": needs}


def final(d, job):
    return d.call("wait", {"job": job, "jobs": True, "results": True, "timeout": "20s"})["jobs"][0]


# --- fan-out and fan-in -----------------------------------------------------------------------

def ten_thousand_fan_in_to_one_sum(d):
    d.start()
    answer(d, "batch", "open", "fan")
    total = ids(d, "submit", "sum", "1000000", "--results", "sum.sum", "--needs", "batch:fan")[0]
    holds(answer(d, "why", str(total)), "batch 1", "still open")
    answer(d, "batch", "add", "fan", "-f", "-", stdin=lines(*map(plus, range(10000))))
    answer(d, "batch", "wait", "fan", "--close")
    job = final(d, total)
    equal(job["sum"], {"count": 10001, "sum": 1000000 + sum(range(10000))})


def ten_thousand_siblings_fan_in_within_one_message(d):
    d.start()
    n = 9999
    jobs = [plus(i) for i in range(n)] + [over(siblings=list(range(n)))]
    with d.client() as c:
        got = c.call("submit", {"jobs": jobs})
    equal(final(d, got["ids"][-1])["sum"]["sum"], sum(range(n)))


def a_file_names_its_jobs_by_place_whatever_message_they_go_in(d):
    d.start()
    n = 12000  # more than two messages
    jobs = [plus(i) for i in range(n)]
    jobs += [over(siblings=[0, 6000, n - 1]), over(siblings=[n])]
    got = ids(d, "submit", "-f", "-", stdin=lines(*jobs))
    want = 0 + 6000 + n - 1
    equal([final(d, i)["sum"]["sum"] for i in got[-2:]], [want, want])
    equal(row(d, "show", str(got[-2]))["spec"]["needs"]["jobs"], [got[0], got[6000], got[n - 1]])


def a_place_must_be_before_the_job_that_names_it(d):
    d.start()
    err = complaint(d, "submit", "-f", "-", code=2, stdin=lines(plus(1), over(siblings=[1])))
    holds(err, "stdin:2", "siblings: 1 is not a job before this one")


def keys_name_jobs_of_the_same_file_and_older_ones(d):
    d.start()
    answer(d, "submit", "sum", "5", "--key", "old", "--wait")
    got = ids(d, "submit", "-f", "-", stdin=lines(
        over(keys=["old", "new"]), plus(6, key="new"), plus(9, key="old")))
    equal(final(d, got[0])["sum"]["sum"], 11)
    equal(got[2], 1)
    equal(answer(d, "submit", "sum", "--results", "sum.sum", "--needs", "key:new", "--wait"),
          "6\n")
    holds(complaint(d, "submit", "sum", "1", "--needs", "key:none", code=4), 'key "none"')


def results_of_every_kind_are_summed(d):
    with open(f"{d.dir}/files/a", "w", encoding="utf-8") as f:
        f.write("1\n2\n")
    db = sqlite3.connect(f"{d.dir}/db")
    db.executescript("CREATE TABLE t (n); INSERT INTO t VALUES (40), (2);")
    db.close()
    d.configure(f"databases: {{stock: {{url: 'sqlite:{d.dir}/db'}}}}")
    d.start()
    one = lambda path, *what: answer(d, "submit", "sum", "--results", path, "--wait", "--needs",
                                     str(ids(d, "submit", *what)[0]))
    equal(one("read.size", "read", "a"), "4\n")
    equal(one("read.lines", "read", "a"), "2\n")
    equal(one("sql.rows.1.0", "sql", "--db", "stock", "SELECT n FROM t ORDER BY n"), "40\n")
    equal(one("sql.count", "sql", "--db", "stock", "SELECT n FROM t"), "2\n")
    equal(one("timer.count", "timer", "--every", "1ms", "--count", "3"), "3\n")
    equal(one("sum.sum", "sum", "0.5", "1"), "1.5\n")
    big = str(2**63)
    equal(one("sum.sum", "sum", big), big + "\n")


def a_job_without_such_a_number_fails_the_sum_by_name(d):
    d.start()
    answer(d, "submit", "sum", "1", "--wait")
    job = row(d, "submit", "sum", "--results", "fetch.bytes", "--needs", "1", "--wait", code=1)
    equal(job["error"]["message"], 'the result of job 1 has no number at "fetch.bytes"')
    for path, why in (("sum.smu", 'did you mean "sum"'), ("sum", "not the path of a number"),
                      ("fetch.sha256", "not the path of a number"),
                      ("sql.rows.x.0", "not a place in a list")):
        holds(complaint(d, "submit", "sum", "--results", path, "--needs", "1", code=4), why)
    holds(complaint(d, "submit", "sum", "--results", "sum.sum", code=2), "--needs")


def on_finish_a_sum_leaves_out_what_did_not_succeed(d):
    d.start()
    batch = str(d.call("submit", {"jobs": [plus(1), MISSING, plus(4)]})["batch"])
    needs = ("--needs", f"batch:{batch}", "--wait")
    equal(answer(d, "submit", "sum", "--results", "sum.sum", "--then-on", "finish", *needs),
          "5\n")
    job = row(d, "submit", "sum", "--results", "sum.sum", *needs, code=1)
    equal((job["state"], job["error"]["code"]), ("cancelled", "dependency"))


def results_that_are_gone_fail_the_sum(d):
    d.start()
    answer(d, "submit", "sum", "1", "--wait")
    answer(d, "queue", "set", "held", "--running", "1")
    answer(d, "queue", "pause", "held")
    job = ids(d, "submit", "sum", "--results", "sum.sum", "--needs", "1", "--needs", "batch:1",
              "--queue", "held")[0]
    answer(d, "purge", "1")
    answer(d, "queue", "resume", "held")
    job = final(d, job)
    equal((job["state"], job["error"]["code"]), ("failed", "not_found"))
    holds(job["error"]["message"], "job 1 is gone")


# --- order ------------------------------------------------------------------------------------

def success_and_finish_tell_what_may_start(d):
    d.start()
    answer(d, "submit", "sum", "1", "--wait")
    answer(d, "submit", "read", "nowhere", "--wait", code=1)
    equal(answer(d, "submit", "sum", "7", "--needs", "1", "--wait"), "7\n")
    equal(answer(d, "submit", "sum", "7", "--needs", "job:2", "--then-on", "finish", "-w"), "7\n")
    job = row(d, "submit", "sum", "7", "--needs", "2", "--needs", "1", "--wait", code=1)
    equal((job["state"], job["error"]),
          ("cancelled", {"code": "dependency",
                         "message": "job 2, which it waits for, did not succeed"}))
    chain = row(d, "submit", "sum", "7", "--needs", str(job["id"]), "--wait", code=1)
    holds(chain["error"]["message"], f"job {job['id']}")
    equal(answer(d, "submit", "sum", "7", "--needs", str(job["id"]), "--then-on", "finish", "-w"),
          "7\n")


def needs_that_make_no_sense_are_refused(d):
    d.start()
    holds(complaint(d, "submit", "sum", "1", "--needs", "17", code=4), "no job 17")
    holds(complaint(d, "submit", "sum", "1", "--needs", "batch:17", code=4), "no batch 17")
    holds(complaint(d, "submit", "sum", "1", "--needs", "batch:x", code=4), 'no batch "x"')
    holds(complaint(d, "submit", "sum", "1", "--needs", "x", code=2), "batch:BATCH")
    holds(complaint(d, "submit", "sum", "1", "--then-on", "finish", code=2), "--needs")
    holds(complaint(d, "submit", "sum", "1", "--needs", "1", "--then-on", "x", code=2), "finish")
    with d.client() as c:
        equal(c.refused("submit", {"jobs": [plus(1), {**plus(1), "needs": {}}]}),
              ("invalid", "jobs[1].needs"))
        equal(c.refused("submit", {"jobs": [over(siblings=[1])]})[0], "invalid")


def cycles_are_refused(d):
    d.start()
    answer(d, "batch", "open", "a")
    answer(d, "batch", "open", "b")
    holds(complaint(d, "batch", "add", "a", "sum", "1", "--needs", "batch:a", code=4),
          "cannot wait for that batch")
    answer(d, "batch", "add", "a", "sum", "1", "--needs", "batch:b")
    holds(complaint(d, "batch", "add", "b", "sum", "1", "--needs", "batch:a", code=4), "a cycle")
    holds(complaint(d, "batch", "add", "b", "sum", "1", "--needs", "1", code=4), "a cycle")
    with d.client() as c:
        for jobs in ([over(siblings=[0])], [over(siblings=[1]), over(siblings=[0])],
                     [over(siblings=[1]), over(siblings=[2]), over(keys=["k"]) | {"key": "x"},
                      over(siblings=[1]) | {"key": "k"}]):
            equal(c.refused("submit", {"jobs": jobs})[0], "conflict")
        forward = c.call("submit", {"jobs": [over(siblings=[1]), over(siblings=[2]), plus(3)]})
    equal(final(d, forward["ids"][0])["sum"]["sum"], 3)
    equal(len(states(d)), 4)


def why_names_all_that_is_awaited(d):
    d.start()
    first = ids(d, "submit", *HOUR)[0]
    answer(d, "batch", "open", "b")
    job = ids(d, "submit", "sum", "1", "--needs", str(first), "--needs", "batch:b")[0]
    why = row(d, "why", str(job))
    equal((why["reason"], why["needs"]), ("needs", {"jobs": [first], "batches": [2]}))
    holds(answer(d, "why", str(job)), "2 jobs and batches")
    answer(d, "cancel", str(first))
    until(lambda: states(d)[job] == "cancelled", "the dependent is cancelled")
    holds(complaint(d, "why", "999", code=4), "no job")


# --- restarts and retries ---------------------------------------------------------------------

def workflows_outlive_the_daemon(d):
    d.start()
    answer(d, "batch", "open", "b")
    sleeper = ids(d, "batch", "add", "b", "timer", "--every", "200ms")[0]
    after = ids(d, "submit", "timer", "--every", "200ms", "--needs", str(sleeper))[0]
    total = ids(d, "submit", "sum", "--results", "timer.count", "--needs", "batch:b", "--needs",
                str(after))[0]
    until(lambda: states(d)[sleeper] in ("running", "succeeded"), "the first runs")
    d.kill()
    d.start()
    answer(d, "batch", "close", "b")
    equal(final(d, sleeper)["state"], "succeeded")
    until(lambda: states(d)[after] in ("running", "succeeded"), "the second runs")
    d.kill()
    d.start()
    job = final(d, total)
    equal((job["state"], job["sum"]["sum"]), ("succeeded", 2))


def a_retried_workflow_runs_in_its_order_again(d):
    d.start()
    path = f"{d.dir}/files/late"
    jobs = [{"read": {"path": path}, "name": "a"},
            {"sum": {"results": "read.size"}, "needs": {"siblings": [0]}, "name": "b"},
            {"sum": {"results": "sum.sum"}, "needs": {"siblings": [1]}, "name": "c"}]
    rows(d, "submit", "-f", "-", "--wait", code=1, stdin=lines(*jobs))
    equal(states(d), {1: "failed", 2: "cancelled", 3: "cancelled"})
    holds(answer(d, "retry", "3", code=1), "0 of 1")
    holds(answer(d, "retry", "--batch", "1", "--dry-run"), "3 jobs match", "1 2 3")
    with open(path, "w", encoding="utf-8") as f:
        f.write("12345")
    holds(answer(d, "retry", "--batch", "1"), "3 of 3")
    answer(d, "wait", "1")
    equal(states(d), {1: "succeeded", 2: "succeeded", 3: "succeeded"})
    equal(final(d, 3)["sum"]["sum"], 5)


def jobs_that_stand_before_what_they_wait_for_are_retried_with_it(d):
    d.start()
    path = f"{d.dir}/files/late"
    with d.client() as c:
        c.call("submit", {"jobs": [over("read.size", siblings=[1]), {"read": {"path": path}}]})
    answer(d, "wait", "1", code=1)
    with open(path, "w", encoding="utf-8") as f:
        f.write("123")
    holds(answer(d, "retry", "--batch", "1"), "2 of 2")
    equal(final(d, 1)["sum"]["sum"], 3)


def what_a_waiting_job_will_ask_for_is_not_purged(d):
    d.start()
    answer(d, "batch", "open", "b")
    done = row(d, "batch", "add", "b", "sum", "1", "--wait")["id"]
    total = ids(d, "submit", "sum", "--results", "sum.sum", "--needs", "batch:b")[0]
    holds(answer(d, "purge", "--batch", "b"), "0 of 1")
    answer(d, "batch", "close", "b")
    equal(final(d, total)["sum"]["sum"], 1)
    holds(answer(d, "purge", str(done)), "1 of 1")


if __name__ == "__main__":
    main([
        ten_thousand_fan_in_to_one_sum,
        ten_thousand_siblings_fan_in_within_one_message,
        a_file_names_its_jobs_by_place_whatever_message_they_go_in,
        a_place_must_be_before_the_job_that_names_it,
        keys_name_jobs_of_the_same_file_and_older_ones,
        results_of_every_kind_are_summed,
        a_job_without_such_a_number_fails_the_sum_by_name,
        on_finish_a_sum_leaves_out_what_did_not_succeed,
        results_that_are_gone_fail_the_sum,
        success_and_finish_tell_what_may_start,
        needs_that_make_no_sense_are_refused,
        cycles_are_refused,
        why_names_all_that_is_awaited,
        workflows_outlive_the_daemon,
        a_retried_workflow_runs_in_its_order_again,
        jobs_that_stand_before_what_they_wait_for_are_retried_with_it,
        what_a_waiting_job_will_ask_for_is_not_purged,
    ])
