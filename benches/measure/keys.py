"""The row about keys: a new one for every host of a fleet, each with a file of its own."""

import shutil
import subprocess

import meter
from peers import BUGLE
from place import Place

HOSTS = 200
FANOUT = 50

# Every address is a host with a home of its own.
HOST = """\
#!/bin/sh
set -- $SSH_CONNECTION
HOME={homes}/$3; export HOME
cd "$HOME" || exit 1
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""


class KeyPlace(Place):
    """An sshd that reads another file of keys on each of its addresses."""

    def __init__(self, environment):
        super().__init__(HOSTS, "127.0.0.1", "/dev/shm")
        self.environment["PATH"] = environment["PATH"]
        self.homes = self.dir / "homes"
        self.key = self.dir / "new"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "new", "-f", self.key], check=True)

    def setting_of(self, host):
        return f"Match LocalAddress {host}\n  AuthorizedKeysFile {self.file_of(host)}\n"

    def file_of(self, host):
        return self.homes / host / ".ssh" / "authorized_keys"

    def further_settings(self):
        script = self.dir / "host"
        script.write_text(HOST.format(homes=self.homes))
        script.chmod(0o755)
        return f"ForceCommand {script}\n" + "".join(map(self.setting_of, self.hosts))

    def clear(self):
        """Files with nothing but the key that everybody logs in with."""
        shutil.rmtree(self.homes, ignore_errors=True)
        for host in self.hosts:
            self.file_of(host).parent.mkdir(mode=0o700, parents=True)
            shutil.copyfile(self.dir / "key.pub", self.file_of(host))
            self.file_of(host).chmod(0o600)

    def is_wrong(self, _):
        """What is wrong with the files, or None: a command on the hosts adds no key to any."""
        line = (self.dir / "new.pub").read_text().split()[1]
        count = sum(line in self.file_of(host).read_text() for host in self.hosts)
        return None if count in (0, HOSTS) else f"{count} hosts of {HOSTS} have the key"


def deploy(bench):
    """A new key for 200 hosts, beside a command on them."""
    with KeyPlace(bench.place.environment) as place:
        listed, config = place.list_of(place.hosts), place.dir / "ssh_config"
        where = ["all", "-i", listed, "-F", config, "--fanout", FANOUT]
        commands = {
            "bugle run": ([BUGLE, "run", *where, "true"], {}),
            "bugle": ([BUGLE, "keys", "deploy", *where, "--key", place.key], {}),
        }
        copy_id = None if bench.bugle_only else bench.peers.find("ssh-copy-id", package="Debian openssh-client")
        if copy_id:
            # -f: it looks for the key by a login, which the key of everybody makes succeed.
            each = [copy_id, "-f", "-F", config, "-i", f"{place.key}.pub", "{}"]
            commands["ssh-copy-id"] = (["xargs", "-a", listed, "-P", FANOUT, "-I", "{}", *each], {})
        costs = meter.in_turns(commands, bench.runs, place.environment, place.dir, place.is_wrong, place.clear)
        figures = {name: f"{1000 * cost.cpu / HOSTS:.2f} ms" for name, cost in costs.items()}
        beside = [f"{costs['bugle'].cpu / costs['bugle run'].cpu:.2f} × run"]
        if copy_id:
            beside.append(f"1/{costs['ssh-copy-id'].cpu / costs['bugle'].cpu:.0f} of ssh-copy-id")
        figures["bugle"] += f" ({', '.join(beside)})"
        yield "a new key for 200 hosts, proved by a login: client CPU a host", "≤ 2.2 × run, ≤ 1/20 of ssh-copy-id", figures


ROWS = {"keys": deploy}
