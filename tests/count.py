#!/usr/bin/env python3
"""usage: count.py TESTLOG.JSON FAILURES

Prints "PASSED FAILED SKIPPED" test cases of a meson run, counted from their TAP output, and
writes the output of the tests that failed to FAILURES. A test program that failed as a
whole (crash, timeout, sanitizer report, cases missing) counts as a failed case of its own.
"""
import json
import re
import sys

TAP = re.compile(r"^(not )?ok\b(.*)$", re.MULTILINE)
KEEP = 6000  # characters of a failed test's output, from its end


def count(test):
    passed = failed = skipped = 0
    for bad, rest in TAP.findall(test.get("stdout", "")):
        if re.search(r"#\s*skip", rest, re.IGNORECASE):
            skipped += 1
        elif bad:
            failed += 1
        else:
            passed += 1
    if test["result"] == "SKIP":
        skipped = max(skipped, 1)
    elif test["result"] not in ("OK", "EXPECTEDFAIL") and failed == 0:
        failed = 1
    elif test["result"] == "OK" and passed + failed + skipped == 0:
        passed = 1  # a program that says nothing but its exit status
    return passed, failed, skipped


def main():
    totals = [0, 0, 0]
    try:
        with open(sys.argv[1], encoding="utf-8") as log:
            tests = [json.loads(line) for line in log]
    except FileNotFoundError:
        tests = []
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        for test in tests:
            counts = count(test)
            totals = [a + b for a, b in zip(totals, counts)]
            if counts[1]:
                text = test.get("stdout", "") + test.get("stderr", "")
                out.write(f"--- {test['name']}: {test['result']}\n{text[-KEEP:].rstrip()}\n")
    print(*totals)


main()
