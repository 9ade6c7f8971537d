"""Where it all happens: a directory that vanishes, a home without anybody's settings, and one real sshd as every host."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# One shell start is enough: bash reads no ~/.bashrc for a login by sshd when it seems to be a shell in a shell.
SSHD = """\
Port {port}
ListenAddress 0.0.0.0
HostKey {dir}/host_key
PidFile none
AuthorizedKeysFile {dir}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 4096
PerSourcePenalties no
UseDNS no
PrintMotd no
PrintLastLog no
SetEnv SHLVL=1
LogLevel ERROR
"""
CLIENT = """\
Host *
  User {user}
  Port {port}
  IdentityFile {dir}/key
  IdentitiesOnly yes
  UserKnownHostsFile {dir}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
"""


class Place:
    """The files and the sshd of a measurement; a context manager."""

    def __init__(self, hosts, far, parent=None):
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.dir = Path(tempfile.mkdtemp(prefix="bugle-bench-", dir=parent))
        self.hosts = [f"127.1.{index // 250}.{index % 250 + 1}" for index in range(hosts)]
        self.far = far
        self.environment = {
            "PATH": os.environ["PATH"] + ":/usr/sbin",
            "HOME": str(self.dir),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "USER": self.user,
        }
        self.server = None
        with socket.socket() as probe:
            probe.bind(("0.0.0.0", 0))
            self.port = probe.getsockname()[1]

    def __enter__(self):
        for name in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.dir / name], check=True)
        # The home directory holds the key where tools look for one.
        (self.dir / ".ssh").mkdir(mode=0o700)
        host_key = " ".join((self.dir / "host_key.pub").read_text().split()[:2])
        known = "".join(f"[{host}]:{self.port} {host_key}\n" for host in [*self.hosts, self.far])
        (self.dir / "known_hosts").write_text(known)
        (self.dir / ".ssh" / "known_hosts").write_text(known)
        facts = {"dir": self.dir, "port": self.port, "user": self.user}
        (self.dir / "ssh_config").write_text(CLIENT.format(**facts))
        (self.dir / "ssh_config.curve25519").write_text("KexAlgorithms curve25519-sha256\n" + CLIENT.format(**facts))
        self._start(SSHD.format(**facts) + self.further_settings())
        return self

    def further_settings(self):
        """Lines for sshd_config."""
        return ""

    def __exit__(self, *_):
        if self.server:
            self.server.terminate()
            self.server.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _start(self, config):
        sshd = shutil.which("sshd", path=self.environment["PATH"])
        if sshd is None:
            raise SystemExit("no sshd: install openssh-server")
        path = self.dir / "sshd_config"
        # Older releases refuse keywords of newer ones.
        for line in config.splitlines():
            path.write_text(line + "\n" + f"HostKey {self.dir}/host_key\n")
            if subprocess.run([sshd, "-t", "-f", path], capture_output=True).returncode != 0:
                config = config.replace(line + "\n", "")
        path.write_text(config)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.server = subprocess.Popen([sshd, "-D", "-e", "-f", path], stderr=open(self.dir / "sshd.log", "w"))
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("sshd does not start:\n" + (self.dir / "sshd.log").read_text())

    def list_of(self, hosts):
        """A file with one host a line."""
        path = self.dir / f"hosts.{len(hosts)}"
        path.write_text("".join(f"{host}\n" for host in hosts))
        return path

    def remote_processes(self, command):
        """The processes on our hosts that run exactly this command."""
        wanted = command.replace(" ", "\0").encode() + b"\0"
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cmdline").read_bytes() == wanted:
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def end(self, command):
        """Ends what is left of a command on our hosts."""
        for pid in self.remote_processes(command):
            os.kill(pid, signal.SIGKILL)
