#!/bin/sh
# usage: MESON=PROGRAM placed.sh BUILD_ROOT CC [ARG...]
# What a distribution packages: every file at its place, and a program that uses the client
# library as a stranger finds it. TAP.
build=$1
shift
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
echo 1..4

# result STATUS NUMBER NAME: one line of TAP; what went wrong is in $dir/log.
result() {
    if [ "$1" = 0 ]; then
        echo "ok $2 - $3"
    else
        echo "not ok $2 - $3"
        sed 's/^/# /' "$dir/log"
    fi
}

"$MESON" install -C "$build" --no-rebuild --destdir "$dir/root" >"$dir/log" 2>&1
result $? 1 "it installs"
cd "$dir" || exit 1

: >log
while read -r name; do
    found=$(find root -path "root*/$name" | wc -l)
    [ "$found" = 1 ] || echo "$name: $found" >>log
done <<'END'
sbin/gojobd
bin/goctl
etc/gojobd/gojobd.yaml
lib/systemd/system/gojobd.service
lib/sysusers.d/gojobd.conf
lib/tmpfiles.d/gojobd.conf
share/man/man1/goctl.1
share/man/man5/gojobd.yaml.5
share/man/man8/gojobd.8
share/bash-completion/completions/goctl
share/gojobd/job.proto
include/gojobd/client/goctl.h
include/gojobd/proto/pb.h
include/gojobd/proto/job.pb-c.h
libgoctl.a
pkgconfig/goctl.pc
END
[ ! -s log ]
result $? 2 "every file has its place"

# What the unit names is where it says.
unit=$(find root -name gojobd.service)
start=$(sed -n 's/^ExecStart=//p' "$unit")
echo "$start" >log
# shellcheck disable=SC2086 # words
set -- "$@" -- $start
while [ "$1" != -- ]; do
    compiler="$compiler $1"
    shift
done
shift
[ -x "root$1" ] && [ "$2" = --config ] && "root$1" --check-config --config "root$3" >>log 2>&1
result $? 3 "the unit starts what was installed, with a configuration that is right"

pc=$(find root -name goctl.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$dir/root"
cat >client.c <<'END'
#include <stdio.h>
#include "client/goctl.h"

int
main(void)
{
    struct goctl_options options = {.url = "ipc:///nowhere/at/all"};
    struct goctl_error err = {0};
    struct goctl *c;

    if (goctl_connect(&options, &c, &err) == 0)
        return 1;
    return err.code == GOCTL_UNREACHABLE ? 0 : 2;
}
END
# shellcheck disable=SC2046,SC2086 # flags are several words
$compiler -Wall -Werror client.c $(pkg-config --cflags --libs goctl) -o client >log 2>&1 &&
    ./client >>log 2>&1
result $? 4 "a program finds the client library by pkg-config"
