#!/usr/bin/env python3
"""Breaks the tunnel protocol on purpose, one place at a time, and checks that the simulation notices.

    tests/sim/check_broken.py DIRECTORY [SEEDS]
    tests/sim/check_broken.py --fit            only whether each change still fits today's code

Builds base/, mux/ and the simulation in DIRECTORY with each entry of BROKEN and runs up to SEEDS seeds. Says by which invariant
the copy was caught, and after how many seeds; exits with 1 if one was not, or if the unbroken copy fails.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What is wrong -> (file in common/mux, its text, the text instead).
BROKEN = {
    "resume: the sender goes on where it was, not where the receiver stands": (
        "link_receive.c", "byte_queue_rewind(queue, received);", ""),
    "resume: the receiver states what it has consumed as received": (
        "link_pull.c", "stream->id, window->received, window->consumed, window->limit);",
        "stream->id, window->consumed, window->consumed, window->limit);"),
    "resume: credit that a position states is not taken": (
        "link_receive.c", "        if (!mux_stream_receive_credit(stream, consumed, limit))",
        "        if (!mux_stream_receive_credit(stream, consumed, stream->send_limit))"),
    "resume: the server takes an old link": (
        "session.c", "return hello->attempt > session->attempt;", "return true;"),
    "window: the owner may write beyond the limit": (
        "stream.c", "uint64_t credit = stream->send_limit - stream->send.end;",
        "uint64_t credit = stream->send_limit + 1000 - stream->send.end;"),
    "window: credit is taken back without waiting for the answer": (
        "window.c", "    window->shrinking = true;\n    window->shrink_to = wanted;",
        "    window->shrinking = true;\n    window->shrink_to = wanted;\n    window->limit = wanted;"),
    "window: LIMIT below what has come is believed": (
        "window.c", "limit < window->received)\n        return false;", "false)\n        return false;"),
    "window: consumed bytes give no credit": (
        "window.c", "    if (first > window->limit)\n        window->limit = first;\n", ""),
    "window: what was sent is freed, not what was consumed": (
        "stream.c", "byte_queue_drop(&stream->send, consumed);", "byte_queue_drop(&stream->send, stream->send.read);"),
    "window: SHRINK is answered with less than what was written": (
        "session_receive.c", "    if (limit < stream->send.end)\n        limit = stream->send.end;\n", ""),
    "resume: a session that broke the protocol is carried on": (
        "link.c", "if (session->broken)\n        return session->reason;", ""),
    "share: bytes for which there is no memory are kept": (
        "window.c", "    window->received -= bytes;\n    return false;", "    return true;"),
    "share: consumed bytes stay charged": (
        "window.c", "    measure(window, now_us, rtt_us, limits, share);\n    settle_credit(window, share);", "    measure(window, now_us, rtt_us, limits, share);"),
    "share: nobody gives way": (
        "../base/share.c", "SHARE_ENTITLED : SHARE_REFUSED", "SHARE_REFUSED : SHARE_REFUSED"),
    "ids: one is used twice": (
        "session_receive.c", "message->stream <= session->last_stream)\n        return mux_core_broken(session, \"OPEN",
        "message->stream < session->last_stream)\n        return mux_core_broken(session, \"OPEN"),
    "ids: after the last one they begin anew": (
        "session_receive.c", "session->last_stream = message->stream;", "session->last_stream = message->stream + 1 ? message->stream : 0;"),
    "ids: a client does not say that it has none left": (
        "stream.c", "session->ids_used_up = session->last_stream == UINT32_MAX;", ""),
    "liveness: bytes that nobody consumes are a question": (
        "link_timers.c", "    else if (since == 0)\n        return UINT64_MAX;\n", ""),
    "liveness: an answered ping is waited for": (
        "link_receive.c", "link->asked_us = link->ping_due ? session->now_us : 0;", ""),
    "liveness: whatever comes gives a greeting more time": (
        "link_timers.c", "since = link->greeting_us;", "since = link->heard_us;"),
    "liveness: a link that is silent is never given up": (
        "link_timers.c", "if (now_us >= dead_at(link)) {", "if (false && now_us >= dead_at(link)) {"),
}


def fit():
    """The text of each change must stand once in its file."""
    wrong = [(what, file) for what, (file, old, _) in BROKEN.items()
             if (ROOT / "common/mux" / file).read_text(encoding="utf-8").count(old) != 1]
    for what, file in wrong:
        print(f"{what}: its text is not, or not once, in {file}")
    return 1 if wrong else 0


class Builder:
    """Builds the simulation, whole or with one file changed: the other objects are the same ones."""

    def __init__(self, directory):
        self.directory = directory
        shutil.rmtree(directory, ignore_errors=True)
        for room in ("base", "mux"):
            shutil.copytree(ROOT / "common" / room, directory / room)
        shutil.copytree(ROOT / "tests/sim", directory / "sim")
        self.objects = {}
        for room in ("base", "mux", "sim"):
            for source in sorted((directory / room).glob("*.c")):
                if source.name != "speed.c":
                    self.objects[source] = self._compile(source, source.with_suffix(".o"))

    def _cc(self, *args):
        subprocess.run([os.environ.get("CC", "cc"), *args], check=True)

    def _compile(self, source, to):
        self._cc("-std=c11", "-D_GNU_SOURCE", "-O2", "-w", f"-I{self.directory}", "-c", "-o", to, source)
        return to

    def build(self, file=None, old=None, new=None):
        objects = dict(self.objects)
        if file:
            source = (self.directory / "mux" / file).resolve()
            text = source.read_text(encoding="utf-8")
            assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
            # Beside the whole one, for it to find what it includes.
            broken = source.with_name("broken-" + source.name)
            broken.write_text(text.replace(old, new), encoding="utf-8")
            objects[source] = self._compile(broken, broken.with_suffix(".o"))
        program = self.directory / "sim-program"
        self._cc("-o", program, *objects.values())
        return program


def run(program, seeds):
    done = subprocess.run([program, "--seeds", "0", str(seeds)], capture_output=True, text=True, timeout=300, check=False)
    found = re.search(r"^seed (\d+): (.*?)(?: \(replay|$)", done.stdout, re.M)
    if found:
        return int(found.group(1)) + 1, found.group(2)
    return (None, "it crashed: " + done.stderr.strip()[-200:]) if done.returncode not in (0, 1) else None


def main():
    if sys.argv[1:] == ["--fit"]:
        return fit()
    directory = pathlib.Path(sys.argv[1]).resolve()
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 20000
    failed = 0
    builder = Builder(directory)
    if run(builder.build(), min(seeds, 500)):
        print("the copy that is not broken fails")
        failed += 1
    for what, change in BROKEN.items():
        caught = run(builder.build(*change), seeds)
        if caught:
            print(f"{what}: caught after {caught[0] or '?'} seeds: {caught[1]}")
        else:
            print(f"{what}: NOT CAUGHT in {seeds} seeds")
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
