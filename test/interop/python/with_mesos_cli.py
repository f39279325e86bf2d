"""The original's command line, mesos-cli: what runs, commands in a task with and without a terminal, and a task's own terminal.

Argument: the master. Two tasks run there: works, and top, a shell that has a terminal."""
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time

PATIENCE = 60  # seconds that a command may take
BIN = os.path.dirname(sys.executable)
home = tempfile.mkdtemp()
config = os.path.join(home, "config.toml")
with open(config, "w") as f:
    f.write('plugins = []\n[master]\naddress = "http://%s"\n[agent]\nssl = false\nssl_verify = false\n' % sys.argv[1])
# The program is a script that runs the python of PATH.
ENV = dict(os.environ, MESOS_CLI_CONFIG=config, HOME=home, PATH=BIN + os.pathsep + os.environ["PATH"])
CLI = os.path.join(BIN, "mesos-cli")


def expect(what, got, want):
    if got != want:
        sys.exit("FAILED: %s: got %r, want %r" % (what, got, want))
    print(what, "ok", flush=True)


def run(*args, fed=b""):
    """What a command says, and how it ends."""
    p = subprocess.run([CLI, *args], input=fed, capture_output=True, env=ENV, timeout=PATIENCE)
    return p.stdout.decode(), p.stderr.decode(), p.returncode


def rows(*args):
    """The first two columns of a table, without its head."""
    out, err, code = run(*args)
    expect(" ".join(args) + " ends well", (err, code), ("", 0))
    return [line.split()[:2] for line in out.splitlines()[1:] if line.strip()]


class Terminal:
    """A command that has a terminal of 37 rows and 91 columns."""

    def __init__(self, *args):
        pid, self.fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 37, 91, 0, 0))
            os.execve(CLI, [CLI, *args], ENV)
        self.pid, self.seen = pid, b""
        until = time.monotonic() + PATIENCE
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:  # it loses what is typed before the terminal is raw
            if time.monotonic() > until:
                os.kill(self.pid, 9)
                sys.exit("FAILED: the terminal of %s does not become raw" % (args,))
            time.sleep(0.01)

    def read(self, until):
        if not select.select([self.fd], [], [], max(0, until - time.monotonic()))[0]:
            os.kill(self.pid, 9)
            sys.exit("FAILED: nothing more came in %d seconds after %r" % (PATIENCE, self.seen))
        try:
            return os.read(self.fd, 4096)
        except OSError:  # the other side has ended
            return b""

    def shows(self, words):
        until = time.monotonic() + PATIENCE
        while words not in self.seen:
            more = self.read(until)
            if not more:
                sys.exit("FAILED: it ended without %r: %r" % (words, self.seen))
            self.seen += more
        self.seen = self.seen.split(words, 1)[1]

    def types(self, words):
        os.write(self.fd, words)

    def ends(self):
        until = time.monotonic() + PATIENCE
        while True:
            more = self.read(until)
            if not more:
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.seen += more


agents = rows("agent", "list")
expect("one agent", [hostname for _, hostname in agents], ["localhost"])
expect("two tasks", sorted(rows("task", "list")), [["top", "TASK_RUNNING"], ["works", "TASK_RUNNING"]])
expect("the framework", [id for id, _ in rows("framework", "list")], [json.loads(run("task", "inspect", "works")[0])["framework_id"]])

expect("exec", run("task", "exec", "works", "sh", "-c", "echo said; echo wrong >&2; exit 3"), ("said\n", "wrong\n", 3))
expect("exec -i", run("task", "exec", "-i", "works", "cat", fed=b"fed\n" * 20000), ("fed\n" * 20000, "", 0))
expect("exec in no task", run("task", "exec", "none", "true")[2], 1)

shell = Terminal("task", "exec", "-i", "-t", "works", "sh")
shell.types(b"echo rea''dy; stty size\n")
shell.shows(b"ready\r\n")
shell.shows(b"37 91\r\n")
shell.types(b"(echo be''gun; exec sleep 600)\n")
shell.shows(b"begun\r\n")
shell.types(b"\x03echo on: $?\n")
shell.shows(b"on: 130\r\n")
shell.types(b"exit 9\n")
expect("exec -it", shell.ends(), 9)

person = Terminal("task", "attach", "top")
person.types(b"kept=this; echo ty''ped; stty size\n")
person.shows(b"typed\r\n")
person.shows(b"37 91\r\n")
person.types(b"\x10\x11")  # Ctrl-P Ctrl-Q leaves it
expect("attach, and leave", person.ends(), 0)
again = Terminal("task", "attach", "top")
again.types(b"echo it was $kept; exit\n")
again.shows(b"it was this\r\n")
expect("attach again, until the task ends", again.ends(), 0)
until = time.monotonic() + PATIENCE
while rows("task", "list") != [["works", "TASK_RUNNING"]]:
    if time.monotonic() > until:
        sys.exit("FAILED: top has not ended")
    time.sleep(0.1)
