"""A terminal of one's own (tmux), into which a program is put and whose screen is read."""
import os
import subprocess

from daemon import LIMIT, until


class Terminal:
    def __init__(self, folder, columns=80, rows=24, term=None, env=()):
        self.socket = f"{folder}/tmux-{columns}x{rows}"
        config = f"{folder}/tmux.conf"
        with open(config, "w") as f:
            f.write("set -g default-command \"exec env PS1='ready> ' /bin/sh\"\n")
            f.write("set -g status off\n")
            f.write(f"set -g default-terminal {term}\n" if term else "")
        clean = {k: v for k, v in os.environ.items()
                 if k not in ("TMUX", "NO_COLOR", "TERM", "ENV") and not k.startswith("GOJOBD")}
        # A terminal that goes away in the middle of LeakSanitizer's check leaves that waiting,
        # and a processor busy, for ever.
        leaks = {"ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0"}
        self.env = {**clean, **leaks, "TERM": "screen", "LC_ALL": "C.UTF-8", **dict(env)}
        self.tmux("-f", config, "new-session", "-d", "-x", str(columns), "-y", str(rows))

    def tmux(self, *args):
        return subprocess.run(["tmux", "-S", self.socket, *args], env=self.env, check=True,
                              capture_output=True, text=True, timeout=LIMIT).stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")

    def ready(self):
        """The shell waits for a line. What is typed before belongs to who ran until then."""
        self.shows(lambda s: s.rstrip().endswith("ready>"), "the shell's prompt")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, line):
        self.ready()
        self.keys(line, "Enter")

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def shows(self, found, what):
        """Waits until found(screen) and returns the screen."""
        seen = [""]

        def look():
            seen[0] = self.screen()
            return found(seen[0])

        try:
            until(look, what)
        except AssertionError:
            raise AssertionError(f"{what}: {seen[0]!r}") from None
        return seen[0]
