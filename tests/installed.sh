#!/bin/sh
# usage: MESON=PROGRAM installed.sh SOURCE_ROOT BUILD_ROOT CC [ARG...]
# The library as a stranger finds it: installed, by pkg-config, outside of this tree. The
# program is the one that README.md prints. TAP.
root=$1 build=$2
shift 2
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0

# result STATUS NAME: one line of TAP; what went wrong is in $dir/log.
result() {
    n=$((n + 1))
    if [ "$1" = 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        sed 's/^/# /' "$dir/log"
    fi
}

# runs NAME CC ARG...: compile the program and compare what it prints.
runs() {
    name=$1
    shift
    # shellcheck disable=SC2046 # flags are several words
    "$@" taste.c $(pkg-config --cflags --libs goroutine) -o taste >log 2>&1 &&
        ./taste >out 2>>log && echo 385 | cmp - out >>log 2>&1
    result $? "the program of the read-me $name"
}

echo 1..6
"$MESON" install -C "$build" --no-rebuild --destdir "$dir/root" >"$dir/log" 2>&1
result $? "it installs"
pc=$(find "$dir/root" -name goroutine.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$dir/root"
[ -n "$pc" ] && [ "$(find "$dir/root" -name goroutines.py | wc -l)" = 1 ]
result $? "the pkg-config file and the gdb script are there"

cd "$dir" || exit 1
{
    echo '#include <stdio.h>'
    echo '#include "runtime/go.h"'
    awk '/^```c$/ { p = 1; next } /^```$/ && p { exit } p' "$root/README.md"
    echo 'int main(int argc, char **argv)'
    echo '{ return go_main(sum_of_squares, argc, argv); }'
} >taste.c
runs "prints 385" "$@" -Wall -Werror
runs "works as C99, optimized" "$@" -std=c99 -O3 -Wall -Werror
runs "links statically" "$@" -static
# shellcheck disable=SC2046 # flags are several words
echo '#include "runtime/go.h"' | "$@" $(pkg-config --cflags goroutine) -E -dM - |
    awk '$2 !~ /^(_|GO_|go_|go\(|GOJOBD_)/ { print $2 }' | sort >ours
cat <<'E3' | "$@" -pthread -E -dM - | awk '{ print $2 }' | sort >theirs
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
E3
comm -23 ours theirs >log
[ ! -s log ]
result $? "its headers define no macro but go(), and names with go_ or GO_ in front"
