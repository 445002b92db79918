#!/usr/bin/env python3
"""usage: cron_oracle.py CRON_TIMES [SEED [LINES]]

Random cron lines in zones that change their clocks in every known way, over a year, against
python's zoneinfo and no cleverness: every minute of the year is looked at, in local time.
Prints TAP; the seed decides everything.
"""
import datetime
import random
import subprocess
import sys
import zoneinfo

ZONES = [
    ("UTC", 2026),
    ("Europe/Berlin", 2026),
    ("America/New_York", 2027),
    ("Australia/Lord_Howe", 2026),  # half an hour
    ("Africa/Casablanca", 2026),    # back for Ramadan
    ("Asia/Kathmandu", 2026),       # +05:45
    ("Pacific/Apia", 2011),         # a day left out, and daylight saving
    ("America/Caracas", 2016),      # half an hour, once, for good
    ("Europe/Dublin", 2026),        # negative daylight saving
    ("Antarctica/Troll", 2026),     # two hours
    ("America/Havana", 2026),       # at midnight
    ("America/Nuuk", 2026),         # on the evening before
    ("Pacific/Chatham", 2038),      # +12:45, from the rule at the file's end
    ("America/New_York", 2200),     # far beyond the file's own transitions
]
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()


def quarters_of(name, year):
    """The year's quarters of an hour, in which no clock changes: [(utc, local, second time,
    [local minutes left out just before])]"""
    zone = zoneinfo.ZoneInfo(name)
    start = int(datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc).timestamp())
    due = None  # the local time that would follow
    out = []
    for utc in range(start, start + 366 * 86400, 900):
        wall = datetime.datetime.fromtimestamp(utc, zone)
        last = datetime.datetime.fromtimestamp(utc + 840, zone)
        assert wall.utcoffset() == last.utcoffset() and wall.minute % 15 == 0
        again = wall.fold == 1
        wall = wall.replace(tzinfo=None, fold=0)
        left_out = []
        while due is not None and due < wall:
            left_out.append(due)
            due += datetime.timedelta(minutes=1)
        out.append((utc, wall, again, left_out))
        due = wall + datetime.timedelta(minutes=15)
    return start, out


class Field:
    def __init__(self, rnd, low, high, names=None, star=0.4):
        self.low, self.high, self.names = low, high, names
        self.rnd = rnd
        self.values = set()
        if rnd.random() < star:
            n = rnd.choice([0, 0, 0, 2, 3, 5, 7])
            self.star = True
            self.text = "*" + (f"/{n}" if n else "")
            self.values = set(range(low, high + 1, n or 1))
            return
        self.star = False
        self.text = ",".join(self.item() for _ in range(rnd.choice([1, 1, 1, 2, 3])))

    def show(self, v):
        if self.names and self.rnd.random() < 0.5:
            name = self.names[v - self.low]
            return self.rnd.choice([name, name.upper(), name.capitalize()])
        return str(v)

    def item(self):
        rnd = self.rnd
        a = rnd.randint(self.low, self.high)
        kind = rnd.choice("vvvrrsS")
        if kind == "v":
            self.values.add(a)
            return self.show(a)
        if kind == "S":
            n = rnd.randint(1, 7)
            self.values |= set(range(a, self.high + 1, n))
            return f"{self.show(a)}/{n}"
        b = rnd.randint(a, self.high)
        n = rnd.randint(1, 6) if kind == "s" else 1
        self.values |= set(range(a, b + 1, n))
        return f"{self.show(a)}-{self.show(b)}" + (f"/{n}" if kind == "s" else "")


class Line:
    def __init__(self, rnd, near):
        self.minute = Field(rnd, 0, 59, star=0.2)
        self.hour = Field(rnd, 0, 23, star=0.3)
        self.day = Field(rnd, 1, 31, star=0.6)
        self.month = Field(rnd, 1, 12, MONTHS, star=0.8)
        self.weekday = Field(rnd, 0, 6, WEEKDAYS, star=0.6)
        if near and rnd.random() < 0.7:  # where the clocks change
            self.hour.text = f"{near}-{near + 1}"
            self.hour.values = {near, near + 1}
        self.all_hours = self.hour.values == set(range(24))
        self.text = " ".join(
            f.text for f in (self.minute, self.hour, self.day, self.month, self.weekday))

    def on_day(self, date):
        if date.month not in self.month.values:
            return False
        by_day = date.day in self.day.values
        by_week = date.isoweekday() % 7 in self.weekday.values
        if self.day.star or self.weekday.star:
            return by_day and by_week
        return by_day or by_week

    def fires(self, quarters):
        days, out = {}, set()

        def on_hour(w):
            if w.hour not in self.hour.values:
                return False
            key = (w.year, w.month, w.day)
            if key not in days:
                days[key] = self.on_day(w)
            return days[key]

        for utc, wall, again, left_out in quarters:
            if any(on_hour(w) and w.minute in self.minute.values for w in left_out):
                out.add(utc)
            if (not again or self.all_hours) and on_hour(wall):
                for m in range(15):
                    if wall.minute + m in self.minute.values:
                        out.add(utc + m * 60)
        return sorted(out)


def main():
    program = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 20261123
    lines = int(sys.argv[3]) if len(sys.argv) > 3 else 12
    rnd = random.Random(seed)
    print(f"1..{len(ZONES)}")
    for n, (zone, year) in enumerate(ZONES, 1):
        try:
            start, quarters = quarters_of(zone, year)
        except zoneinfo.ZoneInfoNotFoundError:
            print(f"ok {n} - {zone} {year} # SKIP not in this machine's database")
            continue
        todo = [Line(rnd, rnd.choice([0, 1, 2, 22])) for _ in range(lines)]
        ask = "".join(f"{zone}|{start - 1}|{quarters[-1][0] + 840}|{t.text}\n" for t in todo)
        got = subprocess.run([program], input=ask, capture_output=True, text=True,
                             check=True).stdout.splitlines()
        wrong = count = 0
        for line, answer in zip(todo, got, strict=True):
            want = line.fires(quarters)
            count += len(want)
            if answer.split() == [str(v) for v in want]:
                continue
            if not want and answer.endswith("has such a day"):
                continue  # never fires: refused
            wrong += 1
            have = set(answer.split())
            print(f"# {zone} {year}, seed {seed}: {line.text}")
            print(f"#   missing {sorted(set(map(str, want)) - have)[:5]}")
            print(f"#   beyond  {sorted(have - set(map(str, want)))[:5]}")
        ok = wrong == 0 and count > 0
        print(f"{'ok' if ok else 'not ok'} {n} - {zone} {year}: {lines} lines, {count} runs")


if __name__ == "__main__":
    main()
