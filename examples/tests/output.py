"""usage: output.py PROGRAM EXPECTED in-order|any-order

What PROGRAM prints is what the file EXPECTED says, on one processor and on several.
"""
import os
import sys

import tap

program, expected, order = sys.argv[1:]


def check(procs):
    with open(expected, encoding="utf-8") as file:
        want = file.read().splitlines()
    got = tap.run(program, env={**os.environ, "GOMAXPROCS": procs}).splitlines()
    if order == "any-order":
        want, got = sorted(want), sorted(got)
    tap.equal(got, want)


@tap.case
def prints_what_is_expected_on_one_processor():
    check("1")


@tap.case
def prints_what_is_expected_on_four_processors():
    check("4")


tap.main()
