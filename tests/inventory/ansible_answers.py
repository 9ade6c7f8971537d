"""Answers for many inventories in one go, by the classes behind ansible-inventory.

Standard input: one JSON list of sources a line. Standard output: one JSON object a line, in the same order, with the text
that `--list`, `--graph`, `--graph --vars` and `--host` print, and the warnings on the way.
"""

import json
import os
import sys
import tempfile

from ansible import context
from ansible.cli.inventory import InventoryCLI
from ansible.module_utils.common.collections import ImmutableDict
from ansible.utils.display import Display


def answer(sources):
    said = []

    def say(self, message, *rest, **options):
        said.append(str(message))

    Display.warning = Display.error = say
    result = {"warnings": said}
    try:
        cli = InventoryCLI(["ansible-inventory", "--list", "-i", "localhost,"])
        cli.parse()
        # The arguments are kept from the first call on, so they are replaced here.
        context.CLIARGS = ImmutableDict(dict(context.CLIARGS, inventory=tuple(sources)))
        cli.loader, cli.inventory, cli.vm = cli._play_prereqs()
        result["list"] = cli.dump(cli.json_inventory(cli._get_group("all")))
        hosts = {}
        for host in list(cli.inventory.get_hosts("all"))[:3]:
            hosts[host.name] = cli.dump(cli._get_host_variables(host))
        result["hosts"] = hosts
        result["groups"] = {name: members for name, members in cli.inventory.get_groups_dict().items()}
        for name, shown in (("graph", False), ("graph_vars", True)):
            context.CLIARGS = ImmutableDict(dict(context.CLIARGS, graph=True, show_vars=shown, pattern="all"))
            result[name] = cli.inventory_graph()
    except (Exception, SystemExit) as error:
        say(None, "%s: %s" % (type(error).__name__, error))
    return result


def main():
    # Ansible loads its plugins once; every inventory is then read in a process of its own, as it keeps caches.
    answer(["localhost,"])
    waiting = []
    for line in sys.stdin:
        # Bytes of another encoding come through Ansible as lone surrogates.
        out = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        child = os.fork()
        if child == 0:
            json.dump(answer(json.loads(line)), out, ensure_ascii=False)
            out.flush()
            os._exit(0)
        waiting.append((child, out))
        if len(waiting) >= 4:
            collect(*waiting.pop(0))
    for entry in waiting:
        collect(*entry)


def collect(child, out):
    os.waitpid(child, 0)
    out.seek(0)
    print(out.read() or json.dumps({"warnings": ["the process ended"]}), flush=True)


main()
