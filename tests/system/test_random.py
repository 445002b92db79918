#!/usr/bin/env python3
"""usage: test_random.py GOJOBD RPC GOCTL: random workflows on the real binaries, which are killed
now and then; prints TAP.

Jobs succeed or fail by what they are, so what must come of each follows from what came of the
jobs and batches it waits for, however the runs were ordered: that is the model. Cancelled and
fail-fast batches cut the order short; then a job may also be cancelled, and no more. SEED=n
does one again."""
import os
import random

from daemon import Refused, main, until

FINAL = ("succeeded", "failed", "cancelled", "dead")
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**9)


class Workflow:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.jobs = {}     # id: (spec's outcome, needs: [(kind, id)], on, batch)
        self.batches = {}  # id: {"fail_fast", "open"}
        self.cut = set()   # batches that somebody cancelled

    def spec(self, index, batch):
        r, needs = self.rng, {}
        kind = r.choice(["good", "good", "good", "bad", "dead"])
        job = {"good": {"sum": {"numbers": [index]}}, "bad": {"read": {"path": "/nowhere"}},
               "dead": {"sql": {"db": "stock", "query": "SELECT * FROM nowhere"}, "retries": 1,
                        "backoff": {"initial": "1ms"}}}[kind]
        job = dict(job, queue=r.choice(["default", "narrow"]))
        if r.random() < 0.6:
            if index > 0:
                needs["siblings"] = r.sample(range(index), min(index, r.randint(0, 2)))
            if self.jobs:
                needs["jobs"] = r.sample(sorted(self.jobs), min(len(self.jobs), r.randint(0, 2)))
            others = [b for b in self.batches if b != batch]
            if others:
                needs["batches"] = r.sample(others, min(len(others), r.randint(0, 1)))
        needs = {k: v for k, v in needs.items() if v}
        if needs:
            needs["on"] = r.choice(["success", "success", "finish"])
            job["needs"] = needs
        return kind, job

    def submit(self, client):
        """A message into a new batch or an open one; a cycle through batches may be refused."""
        r = self.rng
        still_open = [b for b, o in self.batches.items() if o["open"]]
        batch = r.choice(still_open) if still_open and r.random() < 0.5 else 0
        made = [self.spec(i, batch) for i in range(r.randint(1, 8))]
        fail_fast = r.random() < 0.2
        more = r.random() < 0.4
        where = {"batch": batch} if batch else {"options": {"fail_fast": fail_fast}}
        try:
            rep = client.call("submit", {"jobs": [j for _, j in made], "more": more, **where})
        except Refused as e:
            assert e.code == "conflict", e
            return
        if not batch:
            self.batches[rep["batch"]] = {"fail_fast": fail_fast, "open": more}
        self.batches[rep["batch"]]["open"] = more
        for (kind, job), i in zip(made, rep["ids"]):
            n = job.get("needs", {})
            needs = [("job", rep["ids"][s]) for s in n.get("siblings", [])]
            needs += [("job", j) for j in n.get("jobs", [])]
            needs += [("batch", b) for b in n.get("batches", [])]
            self.jobs[i] = (kind, needs, n.get("on"), rep["batch"])

    def check(self, states):
        def well(what, i):
            if what == "job":
                return states[i] == "succeeded"
            members = [s for j, s in states.items() if self.jobs[j][3] == i]
            return i not in self.cut and all(s == "succeeded" for s in members)

        for i, (kind, needs, on, batch) in self.jobs.items():
            want = {"good": "succeeded", "bad": "failed", "dead": "dead"}[kind]
            if on == "success" and not all(well(*n) for n in needs):
                want = "cancelled"
            allowed = {want}
            failed = [j for j, s in states.items()
                      if self.jobs[j][3] == batch and s in ("failed", "dead") and j != i]
            if batch in self.cut or (self.batches[batch]["fail_fast"] and failed):
                allowed.add("cancelled")
            assert states[i] in allowed, f"job {i} ({self.jobs[i]}) is {states[i]}, not {allowed}"


def states_of(client):
    """Of all jobs, by id."""
    got, after = {}, 0
    while True:
        rep = client.call("list", {"oldest_first": True, "limit": 1000, "after": after})
        got.update({j["id"]: j["state"] for j in rep.get("jobs", [])})
        if "next" not in rep:
            return got
        after = rep["next"]


def random_workflows_end_as_they_must(d):
    print(f"# SEED={SEED}", flush=True)
    d.configure(f"""
queues: {{narrow: {{running: 2}}}}
limits: {{crashes: 100}}
databases: {{stock: {{url: 'sqlite:{d.dir}/stock.db', write: true}}}}""")
    d.start()
    w = Workflow(SEED)
    client = d.client()
    for _ in range(30):
        dice = w.rng.random()
        if dice < 0.75 or not w.batches:
            w.submit(client)
        elif dice < 0.85:
            batch = w.rng.choice(sorted(w.batches))
            reply = client.call("batch_cancel", {"batch": batch})
            w.batches[batch]["open"] = False
            if reply["state"] != "done":
                w.cut.add(batch)
        else:
            d.kill()
            d.start()  # the client dials again by itself
    for batch in w.batches:
        client.call("batch_close", {"batch": batch})
    until(lambda: all(s in FINAL for s in states_of(client).values()), "all ends")
    states = states_of(client)
    assert set(states) == set(w.jobs), "a job is missing"
    w.check(states)
    for batch in w.batches:
        got = client.call("batch_get", {"batch": batch})
        assert got["state"] in ("done", "cancelled"), got
        members = [s for j, s in states.items() if w.jobs[j][3] == batch]
        counts = got["counts"]
        assert counts["total"] == len(members), got
        assert all(counts[s] == members.count(s) for s in FINAL), got
    assert client.call("check", {})["ok"]
    client.close()


if __name__ == "__main__":
    main([random_workflows_end_as_they_must])
