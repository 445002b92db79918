#!/usr/bin/env python3
"""embed.py IN OUT NAME: write the text of IN as the C string `const char NAME[]`."""
import sys

src, out, name = sys.argv[1:]
with open(src, encoding="ascii") as f, open(out, "w", encoding="ascii") as o:
    o.write(f'#include "daemon/store/inner.h"\n\nconst char {name}[] =\n')
    for line in f.read().splitlines():
        line = line.split("--", 1)[0].rstrip()
        if line:
            o.write('    "%s\\n"\n' % line.replace("\\", "\\\\").replace('"', '\\"'))
    o.write("    ;\n")
