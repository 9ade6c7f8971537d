"""The rows of the table. Each yields (measure, what bugle is to reach, {who: figure})."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import files
import keys
import meter
from distance import FAR, Distance
from peers import BUGLE, FLEET, TARGET, Peers

HOSTS = 400
FANOUT = 50
ROUND_TRIP = 0.05
THOUSANDS = 10_000


class Bench:
    """What the rows share."""

    def __init__(self, place, runs, path, bugle_only):
        self.place = place
        self.runs = runs
        self.bugle_only = bugle_only
        self.peers = Peers(place, path)

    def commands(self, command, hosts, fanout=FANOUT, leave_out=()):
        found = self.peers.commands(command, hosts, fanout)
        if self.bugle_only:
            return {"bugle": found["bugle"]}
        return {name: run for name, run in found.items() if name not in leave_out}

    def in_turns(self, commands, check=None):
        return meter.in_turns(commands, self.runs, self.place.environment, self.place.dir, check)

    def bugle(self, *arguments):
        return {"bugle": ([BUGLE, *arguments], {})}


def processor_time(bench):
    """Client processor time a host, on a real sshd."""
    hosts = bench.place.hosts[:200]

    def all_answered(text):
        # Some tools show equal answers once, some repeat the command.
        answers = text.count("hello from the bench")
        return None if answers >= len(hosts) or (answers == 1 and "200" in text) else f"{answers} answers"

    commands = bench.commands("echo hello from the bench", hosts)
    costs = bench.in_turns(commands, all_answered)
    figures = {name: f"{1000 * cost.cpu / len(hosts):.2f} ms" for name, cost in costs.items()}
    yield "client CPU a host, `echo`, 200 hosts of a real sshd", "≤ 1.0 ms, ≤ 0.6 × bssh", figures


def thousands(bench):
    """Ten thousand hosts of the embedded server in another process."""
    server = subprocess.Popen(
        [FLEET, "serve", "--light", "--count", str(THOUSANDS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        fleet = Path(server.stdout.readline().strip())
        argv = ["-i", fleet / "inventory.ini", "-F", fleet / "ssh_config", "run", "all", "--fanout", 200, "--output", "group"]

        def all_answered(text):
            return None if f"({THOUSANDS})" in text and f"{THOUSANDS} ok" in text else "not all answered alike"

        # The server's default is the hybrid key exchange with ML-KEM; curve25519 alone is what other clients' figures are of.
        plain = ["-o", "KexAlgorithms=curve25519-sha256"]
        commands = bench.bugle(*argv, "--", "uname", "-sr")
        commands["bugle, curve25519"] = bench.bugle(*argv, *plain, "--", "uname", "-sr")["bugle"]
        costs = bench.in_turns(commands, all_answered)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
    measure = f"{THOUSANDS:,} embedded hosts, fanout 200, answers kept and grouped"
    yield f"{measure}: rate", "≥ 1,500 hosts/s", {
        name: f"{THOUSANDS / cost.wall:,.0f} hosts/s" for name, cost in costs.items()
    }
    yield f"{measure}: client CPU a host", "", {
        name: f"{1000 * cost.cpu / THOUSANDS:.2f} ms" for name, cost in costs.items()
    }
    yield f"{measure}: peak resident memory", "≤ 120 MB", {
        name: f"{cost.peak * 1.024 / 1000:.0f} MB" for name, cost in costs.items()
    }


def idle(bench):
    """Memory of one more open connection with a quiet command on it."""
    few, many = 50, 250
    sleep = f"sleep {random.randrange(10**6, 10**7)}"
    # These are the same one ssh process a host.
    leave_out = ("ssh, curve25519", "pssh", "pdsh", "clush", "ansible")
    names = bench.commands(sleep, bench.place.hosts[:few], few, leave_out)
    figures = {}
    for name in names:
        sizes = []
        for count in (few, many):
            argv, extra = bench.commands(sleep, bench.place.hosts[:count], count, leave_out)[name]
            sizes.append(held(bench.place, argv, extra, sleep, count))
        figures[name] = f"{(sizes[1] - sizes[0]) / (many - few):.0f} KiB"
    yield "memory of an idle open connection", "≤ 80 KiB", figures


def held(place, argv, extra, command, count):
    """KiB that a client holds while so many hosts run a quiet command."""
    argv = [str(word) for word in argv]
    null = subprocess.DEVNULL
    client = subprocess.Popen(argv, env=place.environment | extra, stdin=null, stdout=null, stderr=null, start_new_session=True)
    try:
        for _ in range(1200):
            if len(place.remote_processes(command)) >= count:
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{argv[0]}: not all of {count} hosts run the command")
        time.sleep(2)
        return meter.proportional_memory(client.pid)
    finally:
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
        place.end(command)


def far(bench):
    """One host that is a round trip of 50 ms away."""
    try:
        distance = Distance(ROUND_TRIP)
    except OSError as error:
        print(f"skipped: no TUN device ({error.strerror}); run as root", file=sys.stderr)
        return
    with distance:
        costs = bench.in_turns(bench.commands("true", [FAR], 1))
    figures = {name: f"{cost.wall / ROUND_TRIP:.1f} ({1000 * cost.wall:.0f} ms)" for name, cost in costs.items()}
    yield f"one host {1000 * ROUND_TRIP:.0f} ms away, login and `true`, in round trips", "≤ 11", figures


def near(bench):
    """One host on loopback."""
    bench.runs *= 4
    costs = bench.in_turns(bench.commands("true", bench.place.hosts[:1], 1))
    bench.runs //= 4
    figures = {name: f"{1000 * cost.wall:.0f} ms" for name, cost in costs.items()}
    yield "one host on loopback, login and `true`", "≤ 50 ms", figures


def start(bench):
    """What there is before anybody is called."""
    bench.runs *= 4
    yield "`bugle --version`", "≤ 5 ms", milliseconds(bench.in_turns(bench.bugle("--version")))
    for kind, write in (("INI", write_ini), ("YAML", write_yaml)):
        path = write(bench.place.dir / f"small.{kind.lower()}", groups=100, each=100)
        figures = milliseconds(bench.in_turns(bench.bugle("hosts", "all", "-i", path)))
        yield f"`bugle hosts all`, 10,000 hosts, {kind}", "≤ 60 ms", figures
    bench.runs //= 4
    for kind, write in (("INI", write_ini), ("YAML", write_yaml)):
        path = write(bench.place.dir / f"large.{kind.lower()}", groups=1000, each=100)
        cost = bench.in_turns(bench.bugle("hosts", "g0001", "-i", path))["bugle"]
        figures = {"bugle": f"{1000 * cost.wall:.0f} ms, {cost.peak * 1.024 / 1000:.0f} MB"}
        yield f"`bugle hosts g0001`, 100,000 hosts in 1,000 groups, {kind}", "< 1 s, < 300 MB", figures


def milliseconds(costs):
    return {name: f"{1000 * cost.wall:.1f} ms" for name, cost in costs.items()}


def address(index):
    return f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}"


def write_ini(path, groups, each):
    with open(path, "w") as out:
        for group in range(groups):
            out.write(f"[g{group:04}]\n")
            for index in range(group * each, group * each + each):
                out.write(f"host{index:06} ansible_host={address(index)}\n")
    return path


def write_yaml(path, groups, each):
    with open(path, "w") as out:
        out.write("all:\n  children:\n")
        for group in range(groups):
            out.write(f"    g{group:04}:\n      hosts:\n")
            for index in range(group * each, group * each + each):
                out.write(f"        host{index:06}:\n          ansible_host: {address(index)}\n")
    return path


def grouping(bench):
    """1,000 answers of 1,000 lines: half of the hosts say the same, the others differ in every second line."""
    answers = bench.place.dir / "answers"
    with open(answers, "w") as out:
        for host in range(1000):
            for line in range(1000):
                own = f" of host {host}" if host % 2 and line % 2 else ""
                out.write(f"node{host:04}: line {line} of an answer that is as long as lines of a log are{own}\n")
    program = grouping_program()
    seconds = sorted(float(subprocess.check_output([program, answers], text=True)) for _ in range(bench.runs))
    figures = {"bugle": f"{seconds[len(seconds) // 2]:.2f} s"}
    commands = {}
    for name, arguments, package in (("clubak", ["-b"], "Debian clustershell"), ("dshbak", ["-c"], "Debian pdsh")):
        tool = None if bench.bugle_only else bench.peers.find(name, package=package)
        if tool:
            commands[f"{name} {arguments[0]}"] = (["sh", "-c", f"exec {tool} {arguments[0]} <{answers}"], {})
    figures |= {name: f"{cost.cpu:.1f} s" for name, cost in bench.in_turns(commands).items()}
    yield "grouping 1,000 hosts × 1,000 lines, half of the hosts different: CPU", "≤ 0.3 s", figures


def grouping_program():
    """The newest build of benches/grouping.rs; Cargo adds a hash to its name."""
    built = [path for path in (TARGET / "release" / "deps").glob("grouping-*") if path.suffix == ""]
    if not built:
        raise SystemExit("benches/grouping.rs is not built: cargo build --release --bench grouping")
    return max(built, key=lambda path: path.stat().st_mtime)


ROWS = {
    "cpu": processor_time,
    "thousands": thousands,
    "idle": idle,
    "far": far,
    "near": near,
    "start": start,
    "grouping": grouping,
    **files.ROWS,
    **keys.ROWS,
}
