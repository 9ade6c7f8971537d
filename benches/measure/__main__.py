"""The rows of docs/performance.md. `--help` says how to choose."""

import argparse
import signal
import sys

import rows
from place import Place


def main():
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=rows.ROWS, default=list(rows.ROWS), help="these rows")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median is shown [5]")
    parser.add_argument("--path", default="", help="directories with peers, before those of $PATH")
    parser.add_argument("--bugle-only", action="store_true", help="without the peers")
    choice = parser.parse_args()
    # Directories are removed and servers ended also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Place(rows.HOSTS, rows.FAR) as place:
        bench = rows.Bench(place, choice.runs, choice.path, choice.bugle_only)
        print("| measure | bugle | to reach | others in the same run |")
        print("| --- | --- | --- | --- |")
        for name in choice.only:
            print(f"[{name}]", file=sys.stderr)
            for measure, goal, figures in rows.ROWS[name](bench):
                others = " · ".join(f"{who} {figure}" for who, figure in figures.items() if who != "bugle")
                print(f"| {measure} | {figures['bugle']} | {goal} | {others} |", flush=True)


main()
