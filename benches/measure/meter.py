"""What a command costs: wall time, CPU of it and all its children, peak memory."""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cost:
    """The price of one run of a command."""

    wall: float  # seconds
    cpu: float  # user and system seconds of the command and every child that it waited for
    peak: int  # KiB resident of its largest process
    status: int  # exit status, or minus the signal


def spend(argv, environment, output=os.devnull, stdin=os.devnull):
    """Runs a command to its end. Its standard output and error go to the file `output`."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, str(stdin), os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    argv = [str(word) for word in argv]
    began = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status))


def median(costs):
    """Every figure's own median."""
    figures = [[getattr(cost, name) for cost in costs] for name in ("wall", "cpu", "peak")]
    return Cost(*(statistics.median(figure) for figure in figures), max((cost.status for cost in costs), key=abs))


def in_turns(commands, runs, environment, scratch, check=None, before=None):
    """Runs named commands by turns, so that a change of the machine's speed meets all of them alike.

    Gives {name: median cost}. `before()` prepares each run. `check(text)` says what is wrong with a command's output, or
    with what else it was to bring about, or None.
    """
    costs = {name: [] for name in commands}
    for turn in range(runs):
        for name, (argv, extra) in commands.items():
            output = Path(scratch) / "output"
            if before:
                before()
            cost = spend(argv, environment | extra, output)
            fault = check(output.read_text(errors="replace")) if check and cost.status == 0 else None
            if fault or cost.status != 0:
                tail = output.read_text(errors="replace")[-600:]
                raise SystemExit(f"{name}: {fault or f'exit status {cost.status}'}\n{tail}")
            costs[name].append(cost)
    return {name: median(list_) for name, list_ in costs.items()}


def proportional_memory(root):
    """KiB of a process and all its descendants, shared pages counted in proportion."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        waiting.extend(children.get(pid, []))
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total
