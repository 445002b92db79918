#!/bin/sh
# usage: headers.sh SOURCE_ROOT BUILD_ROOT CC [ARG...]
# Every header of ours compiles alone, without warnings: it includes what it needs. TAP.
cd "$1" || exit 1
build=$2 # generated headers
shift 2

set -f
flags="-std=gnu11 -D_GNU_SOURCE -I. -I$build -fsyntax-only -Wall -Wextra -Werror"
headers=$(find . -name '*.h' -not -path './build*' -not -path './.git/*' \
    -not -path './tests/lint/fixtures/*' -not -path './var/*' | sort)
n=0
for h in $headers; do
    n=$((n + 1))
    # shellcheck disable=SC2086 # flags are several words
    if "$@" $flags -include "$h" -x c /dev/null; then
        echo "ok $n - $h"
    else
        echo "not ok $n - $h"
    fi
done
echo "1..$n"
[ "$n" -gt 0 ]
