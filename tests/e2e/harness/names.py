"""Programs that see another hosts file than the machine's, and no other difference: in a mount namespace of their own."""

import os
import subprocess
import sys

from harness import cache

MOUNT = 'mount --bind "$0" /etc/hosts && exec "$@"'


def with_hosts(path, lines):
    """What starts a program that sees these lines behind the machine's own."""
    with open("/etc/hosts", encoding="utf-8") as machine:
        path.write_text(machine.read() + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", MOUNT, path]


def possible():
    """Whether this machine lets a test have a mount namespace."""
    return subprocess.run(["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "true"],
                          capture_output=True, check=False).returncode == 0


def script(text):
    """A command for Python with the harness at hand."""
    return [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(cache.ROOT / 'tests' / 'e2e')!r})\n{text}"]
