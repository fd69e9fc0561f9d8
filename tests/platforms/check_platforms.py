#!/usr/bin/env python3
"""Compiles what is released for other systems than the one that the tests run on, with every warning as an error.

    check_platforms.py BUILD      BUILD: a configured build directory, which says what is compiled and how

For Linux with musl both programs, for macOS the client; each on arm64. The compiler is the one of releases (packaging/sources.toml).
Nothing is linked, so the libraries' headers of this machine do. The last line is "N passed, M failed": files, and the proofs that a file
which is not for a system fails.
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))
sys.dont_write_bytecode = True

import libraries  # noqa: E402 (needs the path above)

HEADERS = ("openssl", "event2", "jansson.h", "jansson_config.h", "event.h", "evutil.h")
TARGETS = {"linux-arm64": ("common/", "tunnel-client/", "tunnel-server/"), "macos-arm64": ("common/", "tunnel-client/")}
# Each compiles here, and on no system that it is not for.
PROOFS = {"linux-arm64": "#include <stdio.h>\n#include <execinfo.h>\nint main(void) { return puts(\"\"); }\n",
          "macos-arm64": "#include <sys/epoll.h>\nint main(void) { return epoll_create1(0); }\n"}


def search_path():
    """The directories that the compiler of this machine finds headers in."""
    told = subprocess.run(["cc", "-E", "-v", "-x", "c", "/dev/null"], capture_output=True, text=True, check=True).stderr
    return [pathlib.Path(line.strip()) for line in told.split("search starts here:")[-1].splitlines() if line.startswith(" ")]


def take_headers(directory):
    """The libraries' headers alone: those of this machine's C library stay out."""
    for place in search_path():
        for name in HEADERS:
            found = place / name
            files = found.glob("*.h") if found.is_dir() else [found] * found.exists()
            for file in files:
                to = directory / (f"{name}/{file.name}" if found.is_dir() else name)
                to.parent.mkdir(exist_ok=True)
                if not to.exists():
                    to.symlink_to(file)


def commands(build):
    """{source, from the root: the arguments that say how it is compiled}"""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        words = shlex.split(entry["command"])
        kept = [word for word in words if word.startswith(("-I", "-D", "-U", "-std=", "-W"))
                and not word.startswith(("-Wl,", "-Winvalid-pch", "-I/usr", "-D_FORTIFY_SOURCE"))]
        if source.is_relative_to(ROOT):
            found[str(source.relative_to(ROOT))] = kept
    return found


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    listed = commands(build)
    failed = passed = 0
    with tempfile.TemporaryDirectory(prefix="check-platforms-") as name, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pathlib.Path(name)
        headers = work / "include"
        headers.mkdir()
        take_headers(headers)
        for target_name, places in TARGETS.items():
            environment = libraries.compiler(libraries.TARGETS[target_name], work / target_name)

            def compile_file(source, arguments, environment=environment):
                # -fsyntax-only is a way of zig's to fail: it looks for the object file.
                output = work / f"{hash(source):x}.o"
                done = subprocess.run(["cc", "-c", "-O0", "-o", output, "-Werror", *arguments, "-isystem", headers, source],
                                      cwd=build, env=environment, capture_output=True, text=True, check=False)
                output.unlink(missing_ok=True)
                return source, done.returncode, done.stderr

            proof = work / "proof.c"
            proof.write_text(PROOFS[target_name], encoding="ascii")
            subprocess.run(["cc", "-fsyntax-only", proof], check=True)
            noticed = compile_file(proof, [])[1] != 0
            passed, failed = passed + noticed, failed + (not noticed)
            if not noticed:
                print(f"{target_name}: a file that is not for it compiles: this check proves nothing")
            sources = [source for source in listed if source.startswith(places)]
            for source, code, errors in pool.map(lambda one: compile_file(ROOT / one, listed[one]), sources):
                if code:
                    print(f"{target_name}: {source.relative_to(ROOT)} does not compile:\n{errors}")
                passed, failed = passed + (code == 0), failed + (code != 0)
            print(f"{target_name}: {len(sources)} files")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


main()
