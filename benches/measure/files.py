"""The rows about files: to and from one host, far away, many small ones, and to a fleet.

Everything lies in memory: what is sent, and the homes of the hosts. Every run begins without what it is to bring, and is
followed by a comparison of what it brought.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import meter
from peers import ANSIBLE, BUGLE, FLEET
from place import Place
from swallow import Swallow

MEMORY = "/dev/shm"
MIB = 1 << 20
LARGE = 1024 * MIB
DISTANT = 256 * MIB
MIDDLE = 64 * MIB
TREE = 5_000  # files of 1 to 8 KiB
FAR_TREE = 1_000  # files: scp takes a quarter of a second for each
BSSH_TREE = 100  # files: it opens a connection or two for each
ONE_WAY = "25ms"
FANOUT = 50
DEEP = ("-R", 256, "-B", 261120)  # sftp with as much in flight as sftp-server takes
SFTP_SERVERS = ("/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec", "/usr/lib64/ssh")

# Every address is a host with a home of its own, whatever is asked for there.
HOST = """\
#!/bin/sh
set -- $SSH_CONNECTION
HOME={homes}/$3; export HOME
cd "$HOME" 2>/dev/null || {{ mkdir -p "$HOME" && cd "$HOME"; }} || exit 1
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""
SSHD = """\
Subsystem sftp {server}
ForceCommand {dir}/host
Ciphers aes256-gcm@openssh.com
KexAlgorithms curve25519-sha256
Compression no
"""


class FilePlace(Place):
    """An sshd with 50 hosts that take files, from everybody with the same cipher and key exchange."""

    def __init__(self, environment):
        super().__init__(FANOUT, "127.0.0.1", MEMORY)
        self.environment["PATH"] = environment["PATH"]
        self.homes = self.dir / "homes"
        self.source = self.dir / "source"
        self.taken = self.dir / "taken"
        for directory in (self.homes, self.source, self.taken):
            directory.mkdir()
        self.near = Way(self, self.hosts[0], self.port, self.dir / "ssh_config")

    def further_settings(self):
        server = next((f"{path}/sftp-server" for path in SFTP_SERVERS if Path(path, "sftp-server").exists()), None)
        if server is None:
            raise SystemExit("no sftp-server: install openssh-sftp-server")
        host = self.dir / "host"
        host.write_text(HOST.format(homes=self.homes))
        host.chmod(0o755)
        return SSHD.format(server=server, dir=self.dir)

    def clear(self):
        """Hosts without files, and nothing taken from them."""
        for directory in (self.homes, self.taken):
            shutil.rmtree(directory)
            directory.mkdir()

    def file(self, size):
        """A file of chance."""
        path = self.source / f"file.{size}"
        with open(path, "wb") as out:
            for _ in range(0, size, MIB):
                out.write(random.randbytes(MIB))
        return path

    def tree(self, count):
        """A tree of small files, a hundred in a directory."""
        root = self.source / f"tree.{count}"
        for number in range(count):
            path = root / f"part{number // 100:03}" / f"file{number:05}.conf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random.randbytes(random.randint(1024, 8192)))
        return root

    @contextmanager
    def distant(self):
        """The way to the first host over a line that is long."""
        line = ["relay", "--to", f"{self.hosts[0]}:{self.port}", "--delay", ONE_WAY]
        relay = subprocess.Popen([FLEET, *line], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = int(relay.stdout.readline())
            config = self.dir / "ssh_config.distant"
            config.write_text((self.dir / "ssh_config").read_text().replace(f"Port {self.port}", f"Port {port}"))
            host_key = " ".join((self.dir / "host_key.pub").read_text().split()[:2])
            for known in (self.dir / "known_hosts", self.dir / ".ssh" / "known_hosts"):
                with open(known, "a") as out:
                    out.write(f"[{self.far}]:{port} {host_key}\n")
            yield Way(self, self.far, port, config)
        finally:
            relay.send_signal(signal.SIGINT)
            relay.wait()


class Way:
    """How one host is reached, and how each tool is told to bring files there and back."""

    def __init__(self, place, host, port, config):
        self.place, self.host, self.port, self.config = place, host, port, config

    def bugle(self, verb, *arguments):
        listed = self.place.list_of([self.host])
        return [BUGLE, verb, "all", "-i", listed, "-F", self.config, *arguments]

    def bssh(self, bssh, *arguments):
        node = f"{self.place.user}@{self.host}:{self.port}"
        return [bssh, "-H", node, "-i", self.place.dir / "key", "--strict-host-key-checking", "yes", *arguments]

    def sftp(self, sftp, line):
        batch = self.place.dir / "batch"
        batch.write_text(f"{line}\n")
        return [sftp, "-q", "-F", self.config, *DEEP, "-b", batch, self.host]

    def shell(self):
        return f"ssh -F {self.config}"


def tools(bench, kinds):
    """{name: argv} of a dictionary {tool: function of its path}; bugle's is last."""
    packages = {"rsync": "Debian rsync", "bssh": "cargo install bssh"}
    found = {}
    for kind, argv in kinds.items():
        if kind == "bugle":
            path = BUGLE
        else:
            path = None if bench.bugle_only else bench.peers.find(kind, package=packages.get(kind, "Debian openssh-client"))
        if path:
            found[kind] = (argv(path), {})
    return found


def up(bench, way, source, name):
    """Commands that bring a file to a host."""
    return tools(bench, {
        "scp": lambda scp: [scp, "-q", "-F", way.config, source, f"{way.host}:{name}"],
        "sftp": lambda sftp: way.sftp(sftp, f"put {source} {name}"),
        "rsync": lambda rsync: [rsync, "-e", way.shell(), source, f"{way.host}:{name}"],
        "bssh": lambda bssh: way.bssh(bssh, "upload", source, name),
        "bugle": lambda _: way.bugle("push", source, name),
    })


def down(bench, way, name):
    """Commands that bring a file back."""
    taken = way.place.taken
    return tools(bench, {
        "scp": lambda scp: [scp, "-q", "-F", way.config, f"{way.host}:{name}", taken / "file"],
        "sftp": lambda sftp: way.sftp(sftp, f"get {name} {taken}/file"),
        "rsync": lambda rsync: [rsync, "-e", way.shell(), f"{way.host}:{name}", taken / "file"],
        "bssh": lambda bssh: way.bssh(bssh, "download", name, taken),
        "bugle": lambda _: way.bugle("pull", name, taken),
    })


def can_pull():
    """Whether this bugle has the verb."""
    found = subprocess.run([BUGLE, "pull", "--help"], capture_output=True).returncode == 0
    if not found:
        print("skipped: no bugle pull", file=sys.stderr)
    return found


def differs(source, *arrived):
    """What is wrong with what arrived, or None."""
    for path in arrived:
        found = subprocess.run(["diff", "-rq", "--no-dereference", source, path], capture_output=True, text=True)
        if found.returncode != 0:
            return f"{path} is not {source}:\n{(found.stdout + found.stderr)[:400]}"
    return None


def transfers(bench, place, way, size):
    """{direction: {tool: median cost}} of one file."""
    source, name = place.file(size), "file"
    arrived = place.homes / place.hosts[0] / name
    costs = {"up": in_turns(bench, place, up(bench, way, source, name), lambda _: differs(source, arrived))}
    if can_pull():
        def prepare():
            place.clear()
            arrived.parent.mkdir()
            # A link to the same memory: copying it would take as long as the run.
            os.link(source, arrived)

        def is_wrong(_):
            files = [path for path in place.taken.rglob("*") if path.is_file()]
            return differs(source, *files) if len(files) == 1 else f"{len(files)} files arrived"

        costs["down"] = in_turns(bench, place, down(bench, way, name), is_wrong, prepare)
    source.unlink()
    return costs


def in_turns(bench, place, commands, check, before=None, runs=None):
    costs = meter.in_turns(commands, runs or bench.runs, place.environment, place.dir, check, before or place.clear)
    place.clear()
    return costs


def beside(costs, figure, price, rival=None):
    """Everybody's figures; bugle's with the ratio of its price to that of a rival, or of the peer with the lowest."""
    figures = {name: figure(cost) for name, cost in costs.items()}
    peers = [name for name in costs if name == rival or (rival is None and name != "bugle")]
    if peers:
        best = min(peers, key=lambda name: price(costs[name]))
        figures["bugle"] += f" ({price(costs['bugle']) / price(costs[best]):.2f} × {best})"
    return figures


def wall(cost):
    return cost.wall


def cpu(cost):
    return cost.cpu


def seconds(price):
    return lambda cost: f"{price(cost):.2f} s"


def rates(costs, size):
    """Everybody's throughput; bugle's with its ratio to the fastest peer's."""
    figures = {name: f"{size / MIB / cost.wall:.0f} MiB/s" for name, cost in costs.items()}
    best = fastest(costs)
    if best:
        figures["bugle"] += f" ({costs[best].wall / costs['bugle'].wall:.2f} × {best})"
    return figures


def fastest(costs):
    """The name of the fastest peer."""
    return min((name for name in costs if name != "bugle"), key=lambda name: costs[name].wall, default=None)


def large(bench):
    """A large file to one host on loopback, and back."""
    with FilePlace(bench.place.environment) as place:
        for direction, costs in transfers(bench, place, place.near, LARGE).items():
            measure = f"{LARGE // MIB:,} MiB {direction}, one host on loopback, aes256-gcm"
            yield f"{measure}: rate", "≥ 1.2 × the best", rates(costs, LARGE)
            figures = beside(costs, lambda cost: f"{cost.cpu * 1024 * MIB / LARGE:.2f} s", cpu, fastest(costs))
            yield f"{measure}: client CPU a GiB", "≤ 0.8 × the fastest", figures


def distant(bench):
    """A file over a round trip of 50 ms."""
    with FilePlace(bench.place.environment) as place, place.distant() as way:
        goals = {"up": "≥ 1.05 × the best", "down": "≥ 1.3 × the best"}
        for direction, costs in transfers(bench, place, way, DISTANT).items():
            yield f"{DISTANT // MIB} MiB {direction}, one host 50 ms away", goals[direction], rates(costs, DISTANT)


def tree_commands(bench, way, tree):
    # The trailing `/.` or `/` is how each of them is told that the tree itself becomes the destination.
    return tools(bench, {
        "scp": lambda scp: [scp, "-rq", "-F", way.config, tree, f"{way.host}:tree"],
        "rsync": lambda rsync: [rsync, "-a", "-e", way.shell(), f"{tree}/", f"{way.host}:tree/"],
        "bugle": lambda _: way.bugle("push", "-r", "-p", f"{tree}/.", "tree"),
    })


def trees(bench):
    """A tree of small files: cold, unchanged, and cold from far away."""
    with FilePlace(bench.place.environment) as place:
        tree, arrived = place.tree(TREE), place.homes / place.hosts[0] / "tree"
        measure = f"{TREE:,} files of 1–8 KiB to one host"

        def is_wrong(_):
            return differs(tree, arrived)

        commands = tree_commands(bench, place.near, tree)
        costs = in_turns(bench, place, commands, is_wrong)
        figures = beside(costs, seconds(wall), wall, "rsync")
        figures |= bssh_tree(bench, place)
        yield f"{measure}, cold", "≤ 0.5 × rsync", figures

        # scp copies everything anew.
        commands.pop("scp", None)

        def bring():
            place.clear()
            shutil.copytree(tree, arrived)

        costs = in_turns(bench, place, commands, is_wrong, bring)
        yield f"{measure}, unchanged", "≤ 1.2 × rsync", beside(costs, seconds(wall), wall, "rsync")

    with FilePlace(bench.place.environment) as place, place.distant() as way:
        tree, arrived = place.tree(FAR_TREE), place.homes / place.hosts[0] / "tree"
        commands = tree_commands(bench, way, tree)
        costs = in_turns(bench, place, commands, lambda _: differs(tree, arrived), runs=max(1, bench.runs // 3))
        measure = f"{FAR_TREE:,} such files, cold, 50 ms away"
        yield measure, "≤ 0.25 × scp", beside(costs, seconds(wall), wall, "scp")


def bssh_tree(bench, place):
    """bssh with a part of the tree, once."""
    tree, arrived = place.tree(BSSH_TREE), place.homes / place.hosts[0] / "tree"
    commands = tools(bench, {"bssh": lambda bssh: place.near.bssh(bssh, "upload", "-r", tree, "tree")})

    def is_wrong(_):
        # It may put the tree into the directory or in its place.
        return differs(tree, arrived / tree.name if (arrived / tree.name).exists() else arrived)

    costs = in_turns(bench, place, commands, is_wrong, runs=1)
    shutil.rmtree(tree)
    return {f"{name} with {BSSH_TREE} of them": f"{cost.wall:.2f} s" for name, cost in costs.items()}


def fleet_commands(bench, place, source, name):
    """Commands that bring a file or a tree to all hosts."""
    listed, config, peers = place.list_of(place.hosts), place.dir / "ssh_config", bench.peers
    is_tree = source.is_dir()
    found = {}

    def add(who, tool, package, *argv, **environment):
        path = None if bench.bugle_only else peers.find(*tool, package=package)
        if path:
            found[who] = ([path, *argv], environment)

    add("clush -c", ["clush"], "Debian clustershell", "-q", "-f", FANOUT, "-o", f"-F {config}", "--hostfile", listed,
        "-c", source, "--dest", name)
    options = ["-h", listed, "-p", FANOUT, "-t", 0]
    add("prsync", ["parallel-rsync", "prsync"], "Debian pssh", *options, "-a", "-S", f"-F {config}",
        f"{source}/" if is_tree else source, name)
    add("pscp", ["parallel-scp", "pscp"], "Debian pssh", *options, *(["-r"] if is_tree else []), "-x", f"-F {config}", source, name)
    if not is_tree:
        # With a tree it starts several processes and connections for each of the files.
        add("Ansible copy", ["ansible"], "PyPI ansible-core", "all", "-i", listed, "-f", FANOUT, "-m", "copy", "-a",
            f"src={source} dest=~/{name}", **{key: value.format(config=config) for key, value in ANSIBLE.items()},
            ANSIBLE_HOME=str(place.dir / "ansible"), ANSIBLE_PYTHON_INTERPRETER="auto_silent")
    what = ["-r", "-p", f"{source}/."] if is_tree else [source]
    found["bugle"] = ([BUGLE, "push", "all", "-i", listed, "-F", config, "--fanout", FANOUT, *what, name], {})
    return found


def fleet(bench):
    """The tree, and a file of 64 MiB, to 50 hosts."""
    runs = max(1, bench.runs // 3)
    with FilePlace(bench.place.environment) as place:
        for what, source in ((f"{TREE:,} files of 1–8 KiB", place.tree(TREE)), (f"{MIDDLE // MIB} MiB", place.file(MIDDLE))):
            commands = fleet_commands(bench, place, source, "arrived")
            arrived = [place.homes / host / "arrived" for host in place.hosts]
            costs = in_turns(bench, place, commands, lambda _: differs(source, *arrived), runs=runs)
            measure = f"{what} to {FANOUT} hosts"
            yield f"{measure}: wall time", "≤ 0.5 × the best", beside(costs, seconds(wall), wall)
            yield f"{measure}: client CPU", "≤ 0.5 × the best", beside(costs, seconds(cpu), cpu)


def memory(bench):
    """The peak while a large file goes to 50 hosts. What arrives is compared and forgotten at once."""
    with FilePlace(bench.place.environment) as place:
        source = place.file(LARGE)
        command = {"bugle": fleet_commands(bench, place, source, "arrived")["bugle"]}
        with Swallow(source, place.homes) as swallow:
            costs = in_turns(bench, place, command, lambda _: swallow.missing(FANOUT), runs=1)
        figures = {"bugle": f"{costs['bugle'].peak * 1.024 / 1000:.0f} MB"}
        yield f"{LARGE // MIB:,} MiB to {FANOUT} hosts: peak resident memory", "≤ 100 MB", figures


ROWS = {
    "files-large": large,
    "files-far": distant,
    "files-trees": trees,
    "files-fleet": fleet,
    "files-memory": memory,
}
