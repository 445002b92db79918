#!/usr/bin/env python3
"""usage: hung_net.py COMMAND... , in mount and network namespaces of its own: runs COMMAND
where names are asked of a server that never answers, and port 8000 takes connections and
says nothing."""
import os
import socket
import subprocess
import sys
import tempfile

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with tempfile.NamedTemporaryFile("w") as f:
    f.write("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    f.flush()
    subprocess.run(["mount", "--bind", f.name, "/etc/resolv.conf"], check=True)
dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.bind(("127.0.0.1", 53))
web = socket.create_server(("127.0.0.1", 8000), backlog=128)
for s in (dns, web):
    s.set_inheritable(True)
os.execvp(sys.argv[1], sys.argv[1:])
