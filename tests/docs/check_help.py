#!/usr/bin/env python3
"""Checks that --help of each program and command fits a terminal of 24 lines and 80 columns, with the prompt below it.

    check_help.py TUNNEL-CLIENT TUNNEL-SERVER
"""
import re
import subprocess
import sys

LINES, COLUMNS = 23, 80
OPTIONS, EXAMPLES = 8, 3


def said(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def faults(program, *command):
    shown = said(program, *command, "--help").rstrip("\n").split("\n")
    everything = set(re.findall(r"^  --(?:\[no-\])?([a-z-]+)", said(program, *command, "--help-all"), re.M))
    options = [m[1] for line in shown for m in [re.match(r"  --([a-z-]+)", line)] if m]
    name = program.rsplit("/", 1)[-1]
    if len(shown) > LINES:
        yield f"--help has {len(shown)} lines, more than {LINES}"
    yield from (f"more than {COLUMNS} columns: {line}" for line in shown if len(line) > COLUMNS)
    yield from (f"--help has --{option}, and --help-all has not" for option in options if option not in everything)
    if "--help-all" not in " ".join(shown):
        yield "--help does not say where the rest is"
    if not command:
        examples = [line for line in shown if line.startswith(f"  {name} ")]
        if len(options) != OPTIONS or len(examples) != EXAMPLES:
            yield f"--help has {len(options)} options and {len(examples)} examples"


def main(client, server):
    commands = [[client, name] for name in ("run", "wait", "doctor", "listener-ca", "hosts")]
    found = [f"{' '.join(words)}: {fault}" for words in ([client], *commands, [server]) for fault in faults(*words)]
    print("\n".join(found))
    return len(found) > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
