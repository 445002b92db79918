#!/bin/sh
# usage: go_args.sh SOURCE_ROOT COMPILER...
# What go() must refuse to compile, and, so that a refusal proves something, what it accepts.
root=$1
shift
n=0

# try accepts|refuses STATEMENT COMPILER...
try() {
    want=$1 statement=$2
    shift 2
    n=$((n + 1))
    if "$@" -std=gnu11 -Wall -Werror -I"$root" -fsyntax-only -x c - 2>/dev/null <<END
#include "runtime/go.h"
struct pair { long a, b; };
void none(void);
void ints(int, long);
void text(const char *);
void real(double);
void pair(struct pair);
int six(int, int, int, int, int, int);
void seven(int, int, int, int, int, int, int);
void use(struct pair p, double d, float f, __int128 w, int i, char *s);
void use(struct pair p, double d, float f, __int128 w, int i, char *s)
{
    (void)p, (void)d, (void)f, (void)w, (void)i, (void)s;
    (void)$statement;
}
END
    then got=accepts; else got=refuses; fi
    [ "$got" = "$want" ] || printf 'not '
    echo "ok $n - compiler $want $statement"
}

echo 1..16
try accepts 'go(none)' "$@"
try accepts 'go(ints, i, 2L)' "$@"
try accepts 'go(text, s)' "$@"
try accepts 'go(six, 1, 2, 3, 4, 5, i)' "$@"
try refuses 'go(ints, d, 2L)' "$@"
try refuses 'go(ints, i, f)' "$@"
try refuses 'go(real, d)' "$@"
try refuses 'go(real, i)' "$@"
try refuses 'go(pair, p)' "$@"
try refuses 'go(ints, p, 2L)' "$@"
try refuses 'go(ints, w, 2L)' "$@"
try refuses 'go(ints, i)' "$@"
try refuses 'go(ints, i, 2L, 3)' "$@"
try refuses 'go(text, i)' "$@"
try refuses 'go(seven, 1, 2, 3, 4, 5, 6, 7)' "$@"
try refuses 'go(i, 1)' "$@"
