#!/usr/bin/env python3
"""usage: test_batch.py GOJOBD RPC GOCTL: batches as wait groups, by goctl's commands; prints TAP."""
from cli import (answer, begin, complaint, equal, holds, ids, lines, row, rows, states)
from daemon import LIMIT, main, until

HOUR = ("timer", "--every", "1h")


def waiting(d):
    return d.call("stats", {})["waiters"]


def a_batch_takes_jobs_until_it_is_closed(d):
    d.start()
    batch = row(d, "batch", "open", "nightly", "--label", "team=web")
    equal((batch["state"], batch["labels"]), ("open", {"team": "web"}))
    equal(answer(d, "batch", "add", "nightly", "sum", "1", "2"), f"batch {batch['id']}: job 1\n")
    answer(d, "batch", "add", "nightly", "-f", "-", stdin=lines({"sum": {"numbers": [3]}}))
    answer(d, "submit", "sum", "4", "--batch", "nightly")
    equal(row(d, "batch", "show", "nightly")["counts"]["total"], 3)
    answer(d, "batch", "close", "nightly")
    equal(row(d, "batch", "wait", "nightly")["state"], "done")
    equal(sorted(answer(d, "wait", "nightly").split()), ["1:", "2:", "3", "3", "3:", "4", "job",
                                                         "job", "job"])
    holds(complaint(d, "batch", "add", "nightly", "sum", "1", code=4), "not open")
    holds(complaint(d, "submit", "sum", "1", "--batch", str(batch["id"]), code=4), "closed")


def opening_what_is_open_answers_with_it(d):
    d.start()
    first = row(d, "batch", "open", "b")
    equal(row(d, "batch", "open", "b")["id"], first["id"])
    holds(complaint(d, "batch", "open", "a", "b", code=2), "too many")


def add_takes_what_submit_takes_and_an_open_batch(d):
    d.start()
    holds(complaint(d, "batch", "add", "nope", "sum", "1", code=4), "no batch \"nope\"")
    answer(d, "batch", "open", "b")
    holds(complaint(d, "batch", "add", "b", code=2), "add what")
    holds(complaint(d, "batch", "add", "b", "smu", "1", code=2), "add what")
    holds(complaint(d, "batch", "add", "b", "fetch", code=2), "usage")
    holds(complaint(d, "batch", "add", "b", "sum", "1", "--method", "PUT", code=2),
          "no option --method")
    equal(answer(d, "batch", "add", "b", "sum", "1", "2", "--wait"), "3\n")


def submitting_to_a_name_that_is_not_open_makes_that_batch(d):
    d.start()
    answer(d, "submit", "sum", "1", "--batch", "fresh", "--max-parallel", "3")
    batch = row(d, "batch", "show", "fresh")
    equal((batch["state"], batch["max_parallel"]), ("open", 3))
    answer(d, "submit", "sum", "1", "--batch", "fresh", "--max-parallel", "5")
    batch = row(d, "batch", "show", "fresh")
    equal((batch["counts"]["total"], batch["max_parallel"]), (2, 3))


def waiting_ends_when_the_batch_is_closed_and_its_counter_zero(d):
    d.start()
    answer(d, "batch", "open", "b")
    answer(d, "batch", "add", "b", "sum", "1", "--wait")
    waiter = begin(d, "batch", "wait", "b", "--json")
    plain = begin(d, "wait", "b")
    until(lambda: waiting(d) >= 2, "two waiters")
    equal((waiter.poll(), plain.poll()), (None, None))
    answer(d, "batch", "add", "b", "sum", "2", "--wait")
    equal((waiter.poll(), plain.poll()), (None, None))
    answer(d, "batch", "close", "b")
    equal((waiter.wait(LIMIT), plain.wait(LIMIT)), (0, 0))
    holds(waiter.communicate()[0], '"state":"done"', '"succeeded":2')
    equal(plain.communicate()[0].count("\n"), 2)


def wait_may_close_the_batch_first(d):
    d.start()
    answer(d, "batch", "open", "b")
    answer(d, "batch", "add", "b", "sum", "1")
    equal(row(d, "batch", "wait", "b", "--close")["state"], "done")
    holds(complaint(d, "batch", "wait", "nope", "--close", code=4), "no batch")


def a_job_that_failed_shows_in_the_exit_status(d):
    d.start()
    answer(d, "batch", "open", "b")
    answer(d, "batch", "add", "b", "read", "nowhere", "-w", code=1)
    equal(row(d, "batch", "wait", "b", "--close", code=1)["counts"]["failed"], 1)


def a_wait_past_its_timeout_is_124(d):
    d.start()
    answer(d, "batch", "open", "b")
    holds(complaint(d, "batch", "wait", "b", "--timeout", "50ms", code=124), "not finished")
    holds(complaint(d, "wait", "b", "--timeout", "50ms", code=124), "goctl wait b")


def a_passed_deadline_is_124_whether_jobs_ran_or_not(d):
    d.start()
    answer(d, "queue", "set", "stopped", "--running", "1")
    answer(d, "queue", "pause", "stopped")
    for more in ((), ("--queue", "stopped")):
        job = row(d, "submit", *HOUR, "--deadline", "100ms", "--wait", *more, code=124)
        equal((job["state"], job["error"]["code"]), ("cancelled", "deadline"))
        batch = str(job["batch"])
        answer(d, "wait", batch, code=124)
        equal(row(d, "batch", "wait", batch, code=124)["error"]["code"], "deadline")
        equal(row(d, "batch", "show", batch)["state"], "cancelled")


def a_deadline_is_kept_though_others_passed_before(d):
    d.start()
    answer(d, "queue", "set", "stopped", "--running", "1")
    answer(d, "queue", "pause", "stopped")
    late = [begin(d, "submit", *HOUR, "--queue", "stopped", "--deadline", f"{ms}ms", "--wait")
            for ms in (50, 80, 110, 140)]
    equal([p.wait(LIMIT) for p in late], [124] * 4)
    for p in late:
        p.communicate()


def retrying_lifts_a_deadline_that_passed(d):
    d.start()
    job = row(d, "submit", *HOUR, "--deadline", "50ms", "--wait", code=124)["id"]
    holds(answer(d, "retry", str(job)), "1 of 1")
    until(lambda: states(d)[job] == "running", "the job runs again")
    equal(row(d, "batch", "show", "1").get("deadline"), None)


def the_first_failure_cancels_the_rest_of_a_fail_fast_batch(d):
    d.start()
    jobs = [{"timer": {"every": "1h"}}] * 5 + [{"read": {"path": f"{d.dir}/files/nowhere"}}]
    got = rows(d, "submit", "-f", "-", "--fail-fast", "--wait", code=1, stdin=lines(*jobs))
    equal(sorted(j["state"] for j in got), ["cancelled"] * 5 + ["failed"])
    equal({j["error"]["message"] for j in got if j["state"] == "cancelled"},
          {"another job of its batch failed"})
    batch = row(d, "batch", "show", "1")
    equal((batch["state"], batch["error"]["code"]), ("cancelled", "cancelled"))


def no_more_than_max_parallel_run(d):
    d.start()
    jobs = ids(d, "submit", "-f", "-", "--max-parallel", "2",
               stdin=lines(*[{"timer": {"every": "1h"}}] * 5))
    running = lambda: [i for i, s in states(d).items() if s == "running"]
    until(lambda: len(running()) == 2, "two run")
    equal(running(), [jobs[1], jobs[0]])
    equal(row(d, "why", str(jobs[2]))["limit"], "max_parallel")
    answer(d, "cancel", str(jobs[0]))
    until(lambda: jobs[2] in running(), "the next one runs")
    holds(answer(d, "cancel", str(jobs[0]), code=1), "0 of 0")  # it has ended
    equal(len(running()), 2)


def a_name_finds_the_newest_batch_of_that_name(d):
    d.start()
    for n in (1, 2):
        answer(d, "submit", "sum", str(n), "--batch", "again", "--wait")
        answer(d, "batch", "close", "again")
        equal(answer(d, "wait", "again"), f"{n}\n")
    equal(row(d, "batch", "show", "again")["id"], 2)
    equal([j["batch"] for j in rows(d, "ls", "--batch", "again")], [2])
    holds(complaint(d, "wait", "never", code=4), "no batch \"never\"")


def lists_choose_by_state_and_label(d):
    d.start()
    answer(d, "batch", "open", "a", "--label", "team=web", "--label", "x=1")
    answer(d, "batch", "open", "b", "--label", "team=db")
    answer(d, "batch", "close", "b")
    equal([b["name"] for b in rows(d, "batch", "ls")], ["a"])
    equal([b["name"] for b in rows(d, "batch", "ls", "--all")], ["b", "a"])
    equal([b["name"] for b in rows(d, "batch", "ls", "--state", "done")], ["b"])
    equal([b["name"] for b in rows(d, "batch", "ls", "--all", "-l", "team=db")], ["b"])
    equal([b["name"] for b in rows(d, "batch", "ls", "--all", "-l", "team", "-l", "x=1")], ["a"])
    holds(complaint(d, "batch", "ls", "--state", "queued", code=2), "open, closed")


def cancelling_a_batch_ends_it_and_a_dry_run_does_not(d):
    d.start()
    jobs = ids(d, "submit", "-f", "-", "--batch", "b",
               stdin=lines(*[{"timer": {"every": "1h"}}] * 3))
    holds(answer(d, "batch", "cancel", "b", "--dry-run"), "3 jobs match",
          " ".join(map(str, jobs)))
    equal(row(d, "batch", "show", "b")["state"], "open")
    answer(d, "batch", "cancel", "b")
    equal(row(d, "batch", "wait", "b", code=1)["state"], "cancelled")
    equal(set(states(d).values()), {"cancelled"})
    holds(complaint(d, "batch", "cancel", "nope", code=4), "no batch")


def labels_select_jobs_by_their_own_and_their_batchs(d):
    d.start()
    answer(d, "batch", "open", "b", "--label", "team=web")
    ids(d, "batch", "add", "b", "sum", "1", "--label", "part=1")
    ids(d, "batch", "add", "b", "sum", "2", "--label", "part=2")
    ids(d, "submit", "sum", "3", "--label", "part=2")
    equal(sorted(states(d, "-l", "team=web")), [1, 2])
    equal(sorted(states(d, "-l", "part=2")), [2, 3])
    equal(sorted(states(d, "-l", "part=2", "-l", "team=web")), [2])
    equal(sorted(states(d, "-l", "team=web", "-l", "part")), [1, 2])
    equal(sorted(states(d, "-l", "part")), [1, 2, 3])
    equal(states(d, "-l", "part=3"), {})
    holds(complaint(d, "ls", "-l", "=1", code=2), "NAME=VALUE")


def wait_takes_jobs_by_what_selects_them(d):
    d.start()
    ids(d, "submit", *HOUR, "--label", "run=1", "--name", "long")
    answer(d, "submit", "sum", "1", "2", "--label", "run=1", "--name", "short", "--wait")
    equal(answer(d, "wait", "--name", "short"), "3\n")
    holds(complaint(d, "wait", "-l", "run=2", code=4), "no job matches")
    holds(complaint(d, "wait", code=2), "wait for what")
    waiter = begin(d, "wait", "-l", "run=1", "--json")
    until(lambda: waiting(d) == 1, "it waits")
    equal(waiter.poll(), None)
    holds(answer(d, "cancel", "-l", "run=1", "--kind", "timer"), "1 of 1")
    equal(waiter.wait(LIMIT), 1)
    holds(waiter.communicate()[0], '"succeeded"', '"cancelled"')
    answer(d, "wait", "-l", "run=1", "--timeout", "1s", code=1)
    ids(d, "submit", *HOUR, "--label", "run=3")
    answer(d, "wait", "-l", "run=3", "--timeout", "50ms", code=124)


if __name__ == "__main__":
    main([
        a_batch_takes_jobs_until_it_is_closed,
        opening_what_is_open_answers_with_it,
        add_takes_what_submit_takes_and_an_open_batch,
        submitting_to_a_name_that_is_not_open_makes_that_batch,
        waiting_ends_when_the_batch_is_closed_and_its_counter_zero,
        wait_may_close_the_batch_first,
        a_job_that_failed_shows_in_the_exit_status,
        a_wait_past_its_timeout_is_124,
        a_passed_deadline_is_124_whether_jobs_ran_or_not,
        a_deadline_is_kept_though_others_passed_before,
        retrying_lifts_a_deadline_that_passed,
        the_first_failure_cancels_the_rest_of_a_fail_fast_batch,
        no_more_than_max_parallel_run,
        a_name_finds_the_newest_batch_of_that_name,
        lists_choose_by_state_and_label,
        cancelling_a_batch_ends_it_and_a_dry_run_does_not,
        labels_select_jobs_by_their_own_and_their_batchs,
        wait_takes_jobs_by_what_selects_them,
    ])
