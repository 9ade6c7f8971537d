"""The tools that are measured: how each is told to run one command on many hosts, with its own defaults.

Everybody gets the same key, the same known_hosts and the same number of hosts at once. What has to differ, and why,
stands beside it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BUGLE = TARGET / "release" / "bugle"
FLEET = TARGET / "release" / "examples" / "fleet"

# libssh2 in a process, as the parallel-ssh library is used. It does not check host keys.
PARALLEL_SSH = """\
import sys
from pssh.clients import ParallelSSHClient
command, key, user, port, fanout, hosts = *sys.argv[1:6], open(sys.argv[6]).read().split()
client = ParallelSSHClient(hosts, user=user, port=int(port), pkey=key, pool_size=int(fanout), allow_agent=False)
for host in client.run_command(command):
    for line in host.stdout:
        print(line)
"""
ANSIBLE = {
    # Its own masters would outlive the run and serve the next one.
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=no -F {config}",
    "ANSIBLE_HOST_KEY_CHECKING": "true",
    "ANSIBLE_NOCOLOR": "1",
}


class Peers:
    """Finds the tools; what is absent is named once."""

    def __init__(self, place, path):
        place.environment["PATH"] = path + ":" + place.environment["PATH"]
        self.place = place
        self.missing = {}

    def find(self, *names, package):
        for name in names:
            found = shutil.which(name, path=self.place.environment["PATH"])
            if found:
                return found
        if names[0] not in self.missing:
            self.missing[names[0]] = package
            print(f"skipped: no {names[0]} ({package})", file=sys.stderr)
        return None

    def python_with(self, module, package):
        """An interpreter that has a module."""
        for name in ("python", "python3"):
            found = shutil.which(name, path=self.place.environment["PATH"])
            if found and subprocess.run([found, "-c", f"import {module}"], capture_output=True).returncode == 0:
                return found
        if module not in self.missing:
            self.missing[module] = package
            print(f"skipped: no Python module {module} ({package})", file=sys.stderr)
        return None

    def commands(self, command, hosts, fanout):
        """{name: (argv, environment)} of every tool that is here, for a command on many hosts."""
        place = self.place
        listed = place.list_of(hosts)
        config = place.dir / "ssh_config"
        found = {}

        def add(name, tool, argv, **environment):
            if tool:
                found[name] = ([tool, *argv], environment)

        xargs = shutil.which("xargs")
        for name, each in (("ssh", config), ("ssh, curve25519", f"{config}.curve25519")):
            add(name, xargs, ["-a", listed, "-P", fanout, "-I", "{}", "ssh", "-F", each, "{}", command])
        add("pssh", self.find("parallel-ssh", "pssh", package="Debian pssh"),
            ["-h", listed, "-p", fanout, "-t", "0", "-P", "-x", f"-F {config}", command])
        add("pdsh", self.find("pdsh", package="Debian pdsh"),
            ["-R", "ssh", "-f", fanout, "-w", f"^{listed}", command], PDSH_SSH_ARGS=f"-F {config} -l%u %h", PDSH_RCMD_TYPE="ssh")
        add("clush", self.find("clush", package="Debian clustershell"),
            ["-b", "-q", "-f", fanout, "-o", f"-F {config}", "--hostfile", listed, command])
        add("ansible", self.find("ansible", package="PyPI ansible-core"),
            ["all", "-i", listed, "-f", fanout, "-m", "raw", "-a", command],
            **{key: value.format(config=config) for key, value in ANSIBLE.items()}, ANSIBLE_HOME=str(place.dir / "ansible"))
        add("parallel-ssh", self.python_with("pssh.clients.native", "PyPI parallel-ssh"),
            ["-c", PARALLEL_SSH, command, place.dir / "key", place.user, place.port, fanout, listed])
        add("bssh", self.find("bssh", package="cargo install bssh"), self.bssh(command, hosts, fanout))
        add("bugle", str(BUGLE), self.bugle("run", listed, fanout, "--", command))
        return found

    def bssh(self, command, hosts, fanout):
        place = self.place
        nodes = ",".join(f"{place.user}@{host}:{place.port}" for host in hosts)
        settings = ["-H", nodes, "-i", place.dir / "key", "--parallel", fanout, "--strict-host-key-checking", "yes"]
        # Its first argument is taken for a host when it has a blank in it.
        return [*settings, *command.split()]

    def bugle(self, verb, listed, fanout, *arguments):
        return [verb, "all", "-i", listed, "-F", self.place.dir / "ssh_config", "--fanout", fanout, *arguments]
