#!/usr/bin/env python3
"""What -Dserver=false and -Dtests=false leave: tunnel-client, with what belongs to it, and no need for cmocka.

    check_client_alone.py SOURCE
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile


def main(source):
    with tempfile.TemporaryDirectory() as directory:
        build = pathlib.Path(directory) / "build"
        subprocess.run(["meson", "setup", build, source, "-Dserver=false", "-Dtests=false"], check=True, stdout=subprocess.DEVNULL,
                       env=os.environ | {"LC_ALL": "C.UTF-8"})

        def told(what):
            return json.loads(subprocess.check_output(["meson", "introspect", build, f"--{what}"]))

        installed = set(told("installed").values())
        wrong = [f"{name} is installed" for name in sorted(installed) if pathlib.PurePath(name).name.startswith(("tunnel-server", "_tunnel-server"))]
        if not any(name.endswith("/bin/tunnel-client") for name in installed):
            wrong.append("tunnel-client is not installed")
        needed = {dependency["name"] for dependency in told("dependencies")}
        wrong += [f"{name} is asked for" for name in sorted(needed & {"cmocka", "libwebsockets", "libuv"})]
        wrong += [f"{target['name']} is built" for target in told("targets") if target["name"] in ("tunnel-server", "configuration-of-tunnel-server")]
    print("\n".join(wrong) or "ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
