#!/usr/bin/env python3
"""Runs TEST_TRACE's work with $GOTRACE and checks the file it leaves; prints TAP."""

import collections
import json
import os
import subprocess
import sys
import tempfile

checks = []


def check(name, problems):
    """problems: what is wrong, a list of strings."""
    number = len(checks) + 1
    checks.append(not problems)
    print(f"{'not ok' if problems else 'ok'} {number} - {name}")
    for problem in problems[:10]:
        print(f"# {problem}")


def record(program, case, **env):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        env = dict(os.environ, GOTRACE=path, **env)
        subprocess.run([program, "--child", case], env=env, check=True, timeout=60)
        with open(path, "rb") as file:
            return json.loads(file.read().decode("utf-8"))


def ns(us):
    return round(us * 1000)


def overlaps(slices):
    tracks = collections.defaultdict(list)
    for e in slices:
        tracks[e["pid"], e["tid"]].append((ns(e["ts"]), ns(e["ts"]) + ns(e["dur"]), e["name"]))
    bad = []
    for track, runs in tracks.items():
        runs.sort()
        for a, b in zip(runs, runs[1:]):
            if b[0] < a[1]:
                bad.append(f"track {track}: {a} and {b}")
    return bad


def twice_at_once(slices):
    """No goroutine runs in two places at the same time."""
    by_goroutine = collections.defaultdict(list)
    for e in slices:
        start = ns(e["ts"])
        by_goroutine[e["args"]["goroutine"]].append((start, start + ns(e["dur"])))
    bad = []
    for gid, runs in by_goroutine.items():
        runs.sort()
        bad += [f"goroutine {gid}: {a} and {b}" for a, b in zip(runs, runs[1:]) if b[0] < a[1]]
    return bad


def unbound(events, slices, ph):
    """Arrows start and end inside a slice of their track."""
    spans = collections.defaultdict(list)
    for e in slices:
        spans[e["pid"], e["tid"]].append((ns(e["ts"]), ns(e["ts"]) + ns(e["dur"])))
    for runs in spans.values():
        runs.sort()
    bad = []
    for e in events:
        if e["ph"] != ph:
            continue
        at = ns(e["ts"])
        if not any(a <= at <= b for a, b in spans[e["pid"], e["tid"]]):
            bad.append(str(e))
    return bad


def check_trace(trace, maxprocs):
    events = trace["traceEvents"]
    label = f"GOMAXPROCS={maxprocs}: "
    slices = [e for e in events if e["ph"] == "X"]
    instants = [e for e in events if e["ph"] == "i"]
    names = collections.Counter(e["name"].rsplit(" #", 1)[0] for e in slices)
    seen = collections.Counter(e["name"] for e in instants)

    check(label + "nothing was dropped",
          [] if trace["otherData"]["dropped_events"] == 0 else [str(trace["otherData"])])
    check(label + "every event has what its kind needs",
          [str(e) for e in events if e["ph"] not in "XiMsf" or
           (e["ph"] != "M" and not (isinstance(e["ts"], (int, float)) and e["ts"] >= 0)) or
           (e["ph"] == "X" and e["dur"] < 0)])
    check(label + "slices of a track do not overlap", overlaps(slices))
    check(label + "no goroutine runs in two places at once", twice_at_once(slices))
    check(label + "slices carry the function's name",
          [f"{name}: {names[name]} slices" for name, least in
           (("pong", 4), ("ping_pong", 4), ("block", 2), ("run_away", 1), ("main", 1))
           if names[name] < least])
    check(label + "an odd given name survives, cut to 24 bytes",
          [] if any(n.startswith('odd "name" \\ \ufffd \u00e4 \n') for n in names)
          else [repr(sorted(names))])
    # work() spawns 9, each of the five ping_pong one more, and go_main the main goroutine.
    check(label + "every spawn is an instant",
          [] if seen["spawn"] == 15 else [f"{seen['spawn']} spawns"])
    check(label + "wakes and blocking calls are instants",
          [f"{what}: {seen[what]}" for what in
           ("wake", "blocking call", "blocking call ends") if seen[what] < 1])
    check(label + "arrows start and end at slices",
          unbound(events, slices, "s") + unbound(events, slices, "f") +
          [f"no {ph} events" for ph in "sf" if not any(e["ph"] == ph for e in events)])
    tracks = {e["tid"] for e in slices if e["pid"] == 1}
    named = {e["tid"]: e["args"]["name"] for e in events
             if e["ph"] == "M" and e["name"] == "thread_name" and e["pid"] == 1}
    check(label + "each processor is a track with a name",
          [f"track {t}: {named.get(t)}" for t in tracks if named.get(t) != f"P{t - 1}"] +
          ([] if tracks <= set(range(1, maxprocs + 1)) else [str(tracks)]))
    if maxprocs > 1:
        return  # with a processor to spare nobody's need be taken
    off = [e for e in slices if e["pid"] == 2]
    check(label + "hand-offs are instants",
          [] if seen["hand-off"] >= 1 else [str(seen)])
    check(label + "a goroutine whose processor was taken moves to its thread's track",
          [] if any(e["name"].startswith("run_away #") for e in off)
          else [str(collections.Counter(e["name"] for e in off))])


def schedule(trace):
    """What happened, without when, and which thread of the system it was."""
    return [(e["ph"], e["pid"], e["name"], e.get("args")) for e in trace["traceEvents"]
            if e["ph"] != "M"]


def check_seeds(program):
    traces = [schedule(record(program, "seeded_work", GOSEED=str(seed)))
              for seed in (1, 1, 2, 2, 3, 3)]
    check("GOSEED: the same seed gives the same trace",
          [f"seed {i // 2 + 1}: {a} and {b}" for i in (0, 2, 4)
           for a, b in [next((pair for pair in zip(traces[i], traces[i + 1])
                              if pair[0] != pair[1]), (None, None))]
           if traces[i] != traces[i + 1]])
    check("GOSEED: other seeds give others",
          [f"seeds {i // 2 + 1} and {k // 2 + 1}" for i, k in ((0, 2), (2, 4), (0, 4))
           if traces[i] == traces[k]])
    check("GOSEED: there is something in them", [] if len(traces[0]) > 300 else [traces[0]])


def check_steals(program):
    trace = record(program, "be_stolen_from", GOMAXPROCS="4")
    steals = [e for e in trace["traceEvents"] if e["name"] == "steal"]
    check("a steal is an instant that says how many",
          [] if steals and all(e["ph"] == "i" and e["args"]["n"] >= 1 for e in steals)
          else [str(steals)])


def main():
    program = sys.argv[1]
    for maxprocs in (1, 2, 8):
        check_trace(record(program, "work", GOMAXPROCS=str(maxprocs)), maxprocs)
    check_seeds(program)
    check_steals(program)
    print(f"1..{len(checks)}")
    return 0 if all(checks) else 1


sys.exit(main())
