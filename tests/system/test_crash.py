#!/usr/bin/env python3
"""kill -9 at random moments under load: no acknowledged job is lost, no end counted twice."""
import os
import random
import threading
import time

import daemon
from daemon import until

KILLS = int(os.environ.get("GOJOBD_KILLS", "8"))


class Load(threading.Thread):
    """Submits small batches, and keeps what was acknowledged."""

    def __init__(self, d, stop):
        super().__init__()
        self.d, self.stop, self.acked = d, stop, {}

    def run(self):
        with self.d.client() as c:
            while not self.stop.is_set():
                n = random.randint(1, 50)
                jobs = [{"sum": {"numbers": [i, n]}} for i in range(n)]
                jobs[0] = {"timer": {"every": "1ms", "count": 3}}
                try:
                    rep = c.call("submit", {"jobs": jobs})
                except RuntimeError:
                    continue  # no reply: whether it was carried out is not known
                self.acked[rep["batch"]] = rep["ids"]


def nothing_acknowledged_is_lost_when_the_daemon_is_killed(d):
    seed = int(os.environ.get("GOJOBD_SEED", random.randrange(1 << 30)))
    print(f"# GOJOBD_SEED={seed}")
    random.seed(seed)
    stop = threading.Event()
    d.start()
    loads = [Load(d, stop) for _ in range(3)]
    for load in loads:
        load.start()
    try:
        for _ in range(KILLS):
            time.sleep(random.uniform(0.02, 0.4))  # a random moment is the point
            d.kill()
            d.start()
    finally:
        stop.set()
        for load in loads:
            load.join()
    acked = {b: ids for load in loads for b, ids in load.acked.items()}
    total = 0
    with d.client() as c:
        for batch, ids in acked.items():
            jobs = c.wait(batch)
            assert sorted(jobs) == sorted(ids), f"batch {batch}"
            bad = [j for j in jobs.values() if j["state"] != "succeeded"]
            # A job that was running in three crashes is dead: that is the rule.
            assert all(j["error"]["code"] in ("poison", "interrupted") for j in bad), bad[0]
            counts = c.call("batch_get", {"batch": batch})["counts"]
            ended = {k: v for k, v in counts.items() if k != "total" and v}
            assert counts["total"] == len(ids) == sum(ended.values()), counts
            assert ended.get("succeeded", 0) == len(ids) - len(bad), counts
            total += len(ids)
        ends = {}
        after = 0
        while True:
            rep = c.call("events", {"after": after, "limit": 10000, "timeout": "0s"})
            for e in rep.get("events", []):
                if e.get("job", {}).get("state") in ("succeeded", "dead"):
                    ends[e["job"]["id"]] = ends.get(e["job"]["id"], 0) + 1
            if not rep.get("events"):
                break
            after = rep["next"]
        assert all(n == 1 for n in ends.values()), "an end was recorded twice"
        assert all(i in ends for ids in acked.values() for i in ids)
        assert c.call("check", {})["ok"]
        counts = c.call("stats", {})["counts"]
        assert counts["queued"] == 0 or until(
            lambda: c.call("stats", {})["counts"]["queued"] == 0, "the rest") is None
    print(f"# {KILLS} kills, {total} acknowledged jobs in {len(acked)} batches")
    assert total > 0


if __name__ == "__main__":
    daemon.main([nothing_acknowledged_is_lost_when_the_daemon_is_killed])
