#!/usr/bin/env bash
# unit.sh FILE: the unit is well-formed and exposes little, as systemd-analyze counts.
set -u
unit=$1
echo 1..2
if ! command -v systemd-analyze >/dev/null; then
    echo "ok 1 # SKIP no systemd-analyze"
    echo "ok 2 # SKIP no systemd-analyze"
    exit 0
fi
bad=$(systemd-analyze verify --man=no "$unit" 2>&1 |
    grep -F "$(basename "$unit")" | grep -v 'is not executable')
if [ -z "$bad" ]; then
    echo "ok 1 - the unit is well-formed"
else
    echo "not ok 1 - the unit is well-formed"
    printf '# %s\n' "$bad"
fi
exposure=$(systemd-analyze security --offline=true --no-pager "$unit" 2>&1 |
    sed -n 's/.*exposure level for .*: \([0-9.]*\).*/\1/p')
echo "# exposure: ${exposure:-unknown}"
if awk -v e="${exposure:-10}" 'BEGIN { exit !(e <= 1.5) }'; then
    echo "ok 2 - the unit's exposure is at most 1.5"
else
    echo "not ok 2 - the unit's exposure is at most 1.5"
fi
