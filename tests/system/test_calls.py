#!/usr/bin/env python3
"""Calls, good and bad, to a real daemon."""
import hashlib

import daemon
from daemon import until

SUM = {"sum": {"numbers": [1, 2, 3]}}


def sums_are_exact_and_come_back_in_order(d):
    d.start()
    with d.client() as c:
        jobs = c.run(*[{"sum": {"numbers": list(range(n))}} for n in range(1, 51)])
    assert [j["sum"]["sum"] for j in jobs] == [n * (n - 1) // 2 for n in range(1, 51)]
    assert all(j["state"] == "succeeded" and j["attempt"] == 1 for j in jobs)


def a_small_sum_costs_one_commit(d):
    """It is submitted, run and ended by the same one; what it sets off comes with others."""
    overflow = {"sum": {"numbers": ["170141183460469231731687303715884105727"] * 2}}
    d.start()
    with d.client() as c:
        before = c.call("stats", {})["store"]["commits"]
        for i in range(20):
            job, = c.run({"sum": {"numbers": [i, 1]}})
            assert job["sum"]["sum"] == i + 1 and job["attempt"] == 1, job
        taken = c.call("stats", {})["store"]["commits"] - before
        assert taken in (20, 21), taken  # dispatch looks once, as it starts
        chain = c.run(SUM, *[{**SUM, "needs": {"siblings": [i]}} for i in range(9)])
        assert {j["state"] for j in chain} == {"succeeded"}, chain
        over = c.run({"sum": {"results": "sum.sum"}, "needs": {"jobs": [chain[-1]["id"]]}})
        assert over[0]["sum"]["sum"] == 6, over
        one_by_one = c.run(*[SUM] * 10, options={"max_parallel": 1})
        assert {j["state"] for j in one_by_one} == {"succeeded"}, one_by_one
        batch = c.call("batch_open", {"spec": {"fail_fast": True}})["id"]
        c.call("submit", {"batch": batch, "more": True, "jobs": [{"timer": {"every": "1h"}}]})
        c.call("submit", {"batch": batch, "jobs": [overflow]})
        assert sorted(j["state"] for j in c.wait(batch).values()) == ["cancelled", "failed"]
        again, = c.run({**overflow, "retries": 2, "backoff": {"initial": "10ms"}})
        assert again["state"] == "dead" and again["attempt"] == 3, again
        assert c.call("check", {})["ok"]


def one_call_submits_and_waits(d):
    wait = {"jobs": True, "results": True, "timeout": "20s"}
    d.start()
    with d.client() as c:
        got = c.call("submit", {"jobs": [SUM, SUM], "wait": wait})
        assert got["wait"]["done"] and got["wait"]["batch"]["id"] == got["batch"], got
        assert [(j["id"], j["sum"]["sum"]) for j in got["wait"]["jobs"]] == \
            [(i, 6) for i in got["ids"]], got
        got = c.call("submit", {"jobs": [{"timer": {"every": "20ms"}}], "wait": {}})
        assert got["wait"]["done"] and "jobs" not in got["wait"], got
        soon = c.call("submit", {"jobs": [{"timer": {"every": "1h"}}],
                                 "wait": {"timeout": "10ms"}})
        assert not soon["wait"].get("done") and "jobs" not in soon["wait"], soon
        for args, field in (({"wait": {"job": 1}}, "wait"), ({"wait": {"after": 1}}, "wait"),
                            ({"wait": {}, "more": True}, "wait"),
                            ({"wait": {}, "dry_run": True}, "wait"),
                            ({"wait": {"timeout": "-1s"}}, "wait.timeout"),
                            ({"wait": {}, "jobs": [SUM] * 1001}, "wait")):
            assert c.refused("submit", {"jobs": [SUM], **args}) == ("invalid", field), args


def a_file_is_read_and_one_outside_the_roots_is_not(d):
    d.start()
    with open(f"{d.dir}/files/a", "w") as f:
        f.write("one\ntwo\n")
    with d.client() as c:
        good, bad, none = c.run({"read": {"path": f"{d.dir}/files/a", "content": True}},
                                {"read": {"path": "/etc/passwd"}},
                                {"read": {"path": f"{d.dir}/files/none"}})
    assert good["read"]["size"] == 8 and good["read"]["text"] == "one\ntwo\n"
    assert bad["state"] == "failed" and bad["error"]["code"] == "denied", bad
    assert none["state"] == "failed" and none["error"]["code"] == "not_found", none


def a_timer_ticks(d):
    d.start()
    with d.client() as c:
        (job,) = c.run({"timer": {"every": "5ms", "count": 4}, "name": "tick"})
    assert job["timer"]["count"] == 4 and job["name"] == "tick"


def a_wrong_field_is_named_with_its_job(d):
    d.start()
    good = {"sum": {"numbers": [1]}}
    with d.client() as c:
        assert c.refused("submit", {"jobs": [good, {"sum": {}}]})[0] == "invalid"
        assert c.refused("submit", {"jobs": [good, {**good, "timeout": "-1s"}]}) == (
            "invalid", "jobs[1].timeout")
        assert c.refused("submit", {"jobs": [{**good, "priority": 5000}]}) == (
            "invalid", "jobs[0].priority")
        assert c.refused("submit", {"jobs": [{"name": "empty"}]})[0] == "invalid"
        assert c.call("stats", {})["counts"]["total"] == 0


def a_word_that_is_no_state_or_kind_does_not_select_all_jobs(d):
    d.start()
    with d.client() as c:
        c.run({"sum": {"numbers": [1]}})
        for select, field in ({"states": ["none"]}, "states"), ({"kinds": ["none"]}, "kinds"):
            for call in "list", "purge", "cancel", "retry":
                got = c.refused(call, {"select": select})
                assert got == ("invalid", f"select.{field}"), (call, got)
        assert c.call("stats", {})["counts"]["total"] == 1
    for option, known in ("--state", "scheduled, queued, running, succeeded, failed, "
                          "cancelled, dead"), ("--kind", "fetch, read, sum, sql, timer"):
        for word in "bogus", "none":
            r = d.ctl("purge", option, word)
            assert r.returncode == 2 and r.stderr == (
                f'goctl: {option}: unknown value "{word}", expected one of {known}\n'), r.stderr


def what_is_no_request_gets_an_error_and_costs_nothing_else(d):
    d.start()
    with d.client() as c:
        for raw in ("", "00", "ff" * 100, "0801", "52ffffffff0f", "08015200"):
            c.line("!" + raw)
            try:
                c.receive()
                refused = False
            except daemon.Refused:
                refused = True
            assert refused or raw == "08015200", raw
        assert c.run({"sum": {"numbers": [2, 3]}})[0]["sum"]["sum"] == 5


def a_message_over_the_limit_is_refused(d):
    d.configure("limits: {message: 64KiB}")
    d.start()
    with d.client() as c:
        big = {"jobs": [{"sum": {"numbers": [1 << 60] * 9000}}]}
        assert c.refused("submit", big)[0] == "too_large"
        assert c.call("ping", {})["epoch"] == 1


def a_repeated_request_is_carried_out_once(d):
    d.start()
    line = ('{"request_id": "AAAAAAAAAAAAAAAAAAAAAQ==",'
            ' "submit": {"jobs": [{"sum": {"numbers": [1]}}]}}')
    with d.client() as c:
        c.line(line)
        first = c.receive()
        c.line(line)
        assert c.receive() == first
        assert c.call("stats", {})["counts"]["total"] == 1


def a_second_job_with_a_key_is_the_first_one(d):
    d.start()
    spec = {"sum": {"numbers": [1]}, "key": "k"}
    with d.client() as c:
        first = c.call("submit", {"jobs": [spec]})
        second = c.call("submit", {"jobs": [spec]})
        assert second["ids"] == first["ids"] and second["duplicates"] == 1


def a_failed_job_is_tried_again_and_then_dead(d):
    d.start()
    with d.client() as c:
        (job,) = c.run({"read": {"path": f"{d.dir}/files/none"}, "retries": 2,
                        "backoff": {"initial": "10ms"}})
        assert job["state"] == "dead" and job["attempt"] == 3
        full = c.call("get", {"job": job["id"], "history": True})
        assert [a["attempt"] for a in full["history"]] == [1, 2, 3]
        assert c.call("retry", {"select": {"jobs": [job["id"]]}})["changed"] == 1
        until(lambda: c.call("get", {"job": job["id"]})["state"] == "dead", "dead again")


def a_timeout_fails_a_job(d):
    d.start()
    with d.client() as c:
        (job,) = c.run({"timer": {"every": "1h"}, "timeout": "30ms"})
    assert job["state"] == "failed" and job["error"]["code"] == "timeout"


def queued_scheduled_and_running_jobs_are_cancelled(d):
    d.configure("limits: {timer: 1}")
    d.start()
    with d.client() as c:
        rep = c.call("submit", {"jobs": [{"timer": {"every": "1h"}}, {"timer": {"every": "1h"}},
                                         {"sum": {"numbers": [1]}, "after": "1h"}]})
        ids = rep["ids"]
        until(lambda: c.call("get", {"job": ids[0]})["state"] == "running", "running")
        assert c.call("why", {"job": ids[1]})["reason"] == "limit"
        assert c.call("why", {"job": ids[2]})["reason"] == "time"
        assert c.call("cancel", {"select": {"jobs": ids}})["changed"] == 3
        assert {j["state"] for j in c.wait(rep["batch"]).values()} == {"cancelled"}


def a_batch_is_cancelled_whole_and_by_its_deadline(d):
    d.start()
    with d.client() as c:
        slow = [{"timer": {"every": "1h"}}] * 20
        rep = c.call("submit", {"jobs": slow})
        c.call("batch_cancel", {"batch": rep["batch"]})
        assert {j["state"] for j in c.wait(rep["batch"]).values()} == {"cancelled"}
        jobs = c.run(*slow, options={"timeout": "100ms"})
        assert {j["state"] for j in jobs} == {"cancelled"}
        assert {j["error"]["code"] for j in jobs} <= {"deadline"}, jobs[0]


def the_first_failure_cancels_a_batch_that_asks_for_it(d):
    d.start()
    with d.client() as c:
        jobs = c.run({"timer": {"every": "1h"}}, {"read": {"path": f"{d.dir}/files/none"}},
                     options={"fail_fast": True})
    assert [j["state"] for j in jobs] == ["cancelled", "failed"]


def a_job_waits_for_a_batch(d):
    d.start()
    with d.client() as c:
        first = c.call("submit", {"jobs": [{"timer": {"every": "10ms"}}], "more": True})
        then = c.call("submit", {"jobs": [{"sum": {"numbers": [1]},
                                           "needs": {"batches": [first["batch"]]}}]})
        assert c.call("why", {"job": then["ids"][0]})["reason"] == "needs"
        c.call("batch_close", {"batch": first["batch"]})
        assert c.wait(then["batch"])[then["ids"][0]]["state"] == "succeeded"
        assert c.call("batch_get", {"batch": first["batch"]})["state"] == "done"


def no_more_run_than_the_limits_of_queue_and_batch_allow(d):
    d.start()
    with d.client() as c:
        c.call("queue_set", {"name": "q", "limits": {"running": 2}})
        rep = c.call("submit", {"jobs": [{"timer": {"every": "20ms"}, "queue": "q"}] * 8})
        other = c.call("submit", {"jobs": [{"timer": {"every": "20ms"}}] * 8,
                                  "options": {"max_parallel": 3}})
        for batch, most in ((rep["batch"], 2), (other["batch"], 3)):
            while True:
                b = c.call("batch_get", {"batch": batch})
                assert b["counts"]["running"] <= most, b
                if b["state"] == "done":
                    break


def a_paused_queue_starts_nothing_until_it_is_resumed(d):
    d.start()
    with d.client() as c:
        c.call("queue_set", {"name": "q", "limits": {"paused": True}})
        rep = c.call("submit", {"jobs": [{"sum": {"numbers": [1]}, "queue": "q"}]})
        c.run({"sum": {"numbers": [1]}})
        assert c.call("why", {"job": rep["ids"][0]})["reason"] == "paused"
        c.call("queue_resume", {"name": "q"})
        assert len(c.wait(rep["batch"])) == 1


def times_at_the_end_of_all_time_are_no_moment_of_the_past(d):
    d.start()
    last, longest = "2262-04-11T23:47:16.854775807Z", "9223372036.854775807s"
    sums = {"sum": {"numbers": [1]}}
    with d.client() as c:
        rep = c.call("submit", {"jobs": [{**sums, "at": last}, {**sums, "after": longest}],
                                "options": {"timeout": longest}})
        for job in rep["ids"]:
            assert c.call("get", {"job": job})["state"] == "scheduled"
        for b in (c.call("batch_get", {"batch": rep["batch"]}),
                  c.call("batch_open", {"spec": {"name": "b", "timeout": longest}})):
            assert b["deadline"] > "2262", b
        old = c.call("batch_open", {"spec": {"deadline": "1960-01-01T00:00:00Z"}})
        assert c.call("wait", {"batch": old["id"], "timeout": "20s"})["done"]
        c.run({"timer": {"after": "0s", "every": longest, "count": 1}})
        c.call("wait", {"batch": rep["batch"], "jobs": True, "after": 2**63 - 1,
                        "timeout": "0s"})


def a_full_backlog_refuses_with_a_time_to_retry(d):
    d.configure("limits: {backlog: 10}")
    d.start()
    with d.client() as c:
        later = [{"sum": {"numbers": [1]}, "after": "1h"}] * 8
        c.call("submit", {"jobs": later})
        assert c.refused("submit", {"jobs": later})[0] == "busy"


def events_tell_everything_in_order(d):
    d.start()
    with d.client() as c:
        c.run(*[{"sum": {"numbers": [n]}} for n in range(10)])
        events = c.call("events", {})["events"]
        seqs = [e["seq"] for e in events]
        assert seqs == list(range(1, len(seqs) + 1)), seqs
        done = [e for e in events if e.get("job", {}).get("state") == "succeeded"]
        assert len(done) == 10


def a_token_says_what_its_owner_may(d):
    hashes = [hashlib.sha256(t).hexdigest() for t in (b"look", b"work")]
    url = f"tcp://127.0.0.1:{daemon.free_port()}"
    d.configure(f"tokens: [{{name: a, sha256: {hashes[0]}, access: read}}, "
                f"{{name: b, sha256: {hashes[1]}}}]", [url])
    d.start()
    d.url = url
    job = {"jobs": [{"sum": {"numbers": [1]}}]}
    with d.client() as none, d.client("wrong") as wrong, d.client("look") as look, \
            d.client("work") as work:
        assert none.refused("ping", {})[0] == "unauthenticated"
        assert wrong.refused("ping", {})[0] == "unauthenticated"
        assert look.call("ping", {})["epoch"] == 1
        assert look.refused("submit", job)[0] == "denied"
        assert work.call("submit", job)["ids"] == [1]
        assert work.refused("backup", {})[0] == "denied"


if __name__ == "__main__":
    daemon.main(daemon.sentences(globals()))
