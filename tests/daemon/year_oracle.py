#!/usr/bin/env python3
"""usage: year_oracle.py SCHEDULE_YEAR [SEED [LINES]]

A year of schedules in the real store, through both changes of the clocks, restarts, absences
and commits that fail, against the same oracle as cron lines alone (cron_oracle.py): each time
of a line must have had one run, in order. Prints TAP; the seed decides everything.
"""
import os
import random
import subprocess
import sys
import tempfile

import cron_oracle

ZONES = [("Europe/Berlin", 2026), ("America/New_York", 2027), ("Australia/Lord_Howe", 2026),
         ("America/Havana", 2026)]
RUNS = 1500  # of a line, at most: they are written to a disk


def lines_of(rnd, count, quarters):
    """Lines that fire, some of them where the clocks change."""
    out = []
    while len(out) < count:
        line = cron_oracle.Line(rnd, rnd.choice([0, 1, 2]))
        times = line.fires(quarters)
        if 0 < len(times) < RUNS:
            out.append((line, times))
    return out


def main():
    program = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 20261125
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    rnd = random.Random(seed)
    print(f"1..{len(ZONES)}")
    for n, (zone, year) in enumerate(ZONES, 1):
        start, quarters = cron_oracle.quarters_of(zone, year)
        todo = lines_of(rnd, count, quarters)
        ask = "".join(f"{zone}|{start - 1}|{quarters[-1][0] + 840}|{line.text}\n"
                      for line, _ in todo)
        with tempfile.TemporaryDirectory(prefix="year-") as folder:
            done = subprocess.run([program, folder, str(seed)], input=ask, text=True,
                                  capture_output=True, check=False,
                                  env=dict(os.environ, GOSEED=str(seed)))
        ok = done.returncode == 0
        if not ok:
            print(f"# exit {done.returncode}: {done.stderr[:2000]!r}")
        for (line, times), answer in zip(todo, done.stdout.splitlines(), strict=ok):
            want = [str(t) for t in times] + [str(len(times))]
            if answer.split() == want:
                continue
            ok = False
            got = answer.split()
            print(f"# {zone} {year}, seed {seed}: {line.text}")
            print(f"#   missing {sorted(set(want) - set(got))[:5]}")
            print(f"#   beyond  {sorted(set(got) - set(want))[:5]} of {len(got)} ({len(want)})")
        total = sum(len(times) for _, times in todo)
        print(f"{'ok' if ok else 'not ok'} {n} - {zone} {year}: {count} schedules, {total} runs")


main()
