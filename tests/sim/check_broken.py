#!/usr/bin/env python3
"""Breaks the tunnel protocol on purpose, one place at a time, and checks that the simulation notices.

    tests/sim/check_broken.py DIRECTORY [SEEDS]
    tests/sim/check_broken.py --record DIRECTORY   and writes down the seeds that caught them, for the next time to begin with
    tests/sim/check_broken.py --fit            only whether each change still fits today's code

Builds base/, mux/ and the simulation in DIRECTORY with each entry of BROKEN and runs up to SEEDS seeds. Says by which invariant
the copy was caught, and by which seed; exits with 1 if one was not, or if the unbroken copy fails.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Beside the simulation in its directory.
OTHER_PROGRAMS = ("speed.c", "herd.c")
# By what is wrong. A seed does something else once the simulation, or what it simulates, has changed.
KNOWN = ROOT / "tests/sim/broken_seeds.json"

# What is wrong -> (file in common/mux, its text, the text instead).
#
# What is left out, because nothing but speed differs: WINDOW that states consumed as received, or an end that takes it so (more is
# sent again when a link is lost); runs that were on two links and count as lost with the first; WINDOWs that are said again although
# they have come; GONE that is ignored (the link is found dead for itself); who is the lead among links that answer; what is sent over
# two links from the start; a stream that has become large and is in line with what is small (other links help there); bytes that
# are entrusted to a suspect link (they are sent again over others).
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
        "link_timers.c", "if (now_us >= dead_at(link) || is_replaced(link)) {", "if (false && now_us >= dead_at(link)) {"),
    "join: the server takes more links than are allowed": (
        "link.c", "    return may_have_link(session) ? NULL", "    return true ? NULL"),
    "join: the server lets a link join a session that has none": (
        "link.c", "    if (session->up_count == 0)\n        return \"the session has no link to join\";\n", ""),
    "join: what the last link had is not sent again over one that was to join": (
        "scheduler.c", "    if (!was_up)\n        return;", "    if (!was_up || session->up_count == 0)\n        return;"),
    "resume: what has come before its turn is kept": (
        "link.c", "    mux_reassembly_clear(&stream->reassembly);\n", ""),
    "resume: a second POSITION takes back what the first has acknowledged": (
        "link_receive.c", "received < stream->acknowledged ||", "false ||"),
    "lead: the control stream is not said again over the new one": (
        "scheduler.c", "    session->unacknowledged -= control->send.read - control->acknowledged;\n"
        "    byte_queue_rewind(&control->send, control->acknowledged);\n", ""),
    "lead: a stream's first frames take any link": (
        "scheduler.c", "        return link == link->session->lead;", "        return true;"),
    "lead: a stream that the peer does not know yet counts as known": (
        "stream.c", "    mux_control_send(session, &message);\n    stream->known_at = session->control.send.end;",
        "    mux_control_send(session, &message);"),
    "lead: it takes nothing, and stays": (
        "scheduler.c", "    set_lead(session, is_healthy(best) && !best->output_pending ? best : link);", "    (void)best;"),
    "lead: a suspect one stays": (
        "scheduler.c", "    if (session->lead == link)\n        set_lead(session, find_best(session, link));\n    mux_schedule_rescue(session);",
        "    mux_schedule_rescue(session);"),
    "credit: a WINDOW that was lost is not said again": (
        "scheduler.c", "stream->answers > 0;\n        mux_stream_owe_credit(stream, MUX_WINDOW_NOW);", "stream->answers > 0;"),
    "credit: a SHRINK that was lost is not said again": (
        "scheduler.c", "        stream->shrink_due = stream->shrink_due || stream->window.shrinking;\n", ""),
    "credit: a LIMIT that was lost is not said again": (
        "scheduler.c", "        stream->limit_due = stream->limit_due || stream->answers > 0;\n", ""),
    "credit: any PONG proves that all WINDOWs have come": (
        "link_receive.c", "    while (list_pop(&link->told_before))\n", "    while (list_pop(&link->told_before) || list_pop(&link->told))\n"),
    "credit: any PONG counts, also one for an earlier PING": (
        "link_receive.c", "    if (link->ping_us == 0 || token != link->ping_us)", "    if (link->ping_us == 0)"),
    "credit: a lead that has changed is forgotten with what it was told": (
        "scheduler.c", "        say_again(&old->told_before);\n        say_again(&old->told);\n",
        "        while (list_pop(&old->told_before) || list_pop(&old->told))\n            ;\n"),
    "shrink: a WINDOW from before it gives back what was renounced": (
        "session_receive.c", "    if (credit->shrinks < stream->answers)\n        credit->limit = credit->consumed;\n", ""),
    "shrink: WINDOW does not say which the latest was": (
        "link_pull.c", "mux_window_told_limit(window), stream->shrinks};", "mux_window_told_limit(window), 0};"),
    "shrink: an old one is answered": (
        "session_receive.c", "        if (number < stream->answers)\n            return 0; /* an older one, over a slower link */\n", ""),
    "shrink: one that is said again takes more back": (
        "session_receive.c", "        if (number == stream->answers)\n            limit = stream->send_limit; /* said again: so is the answer */\n", ""),
    "shrink: LIMIT for an earlier one is taken": (
        "session_receive.c", "        (number < stream->shrinks || !stream->window.shrinking))", "        !stream->window.shrinking)"),
    "shrink: LIMIT below what has come before its turn is believed": (
        "session_receive.c", "    if (limit < mux_reassembly_end(&stream->reassembly) ||", "    if ("),
    "flight: received bytes stay in flight": (
        "flight.c", "        count(run, to - run->from, false, in_flight);\n        if (is_slot", "        if (is_slot"),
    "flight: a lost run keeps the link that has it as well": (
        "flight.c", "        run->again = MUX_SLOT_NONE;\n        note_kind(flight, run, 1);\n        count(", "        note_kind(flight, run, 1);\n        count("),
    "flight: a run that was sent again in part is sent again whole": (
        "flight.c", "    at->from = to;\n", ""),
    "flight: runs become one although only one of them is on a second link": (
        "flight.c", "    if (run->slot != run[1].slot || run->again != run[1].again)", "    if (run->slot != run[1].slot)"),
    "flight: bytes that are sent again are not counted": (
        "flight.c", "    in_flight[slot] += to - at->from;\n", ""),
    "flight: lost runs are not in line": (
        "scheduler.c", "        list_append(&session->lost, &stream->again);\n    }\n", "    }\n"),
    "flight: other bytes are sent again than were lost": (
        "link_pull.c", "byte_queue_copy(queue, turn->offset, w->at, size);",
        "byte_queue_copy(queue, queue->start, w->at, size);"),
    "flight: bytes that came are acknowledged without those in front of them": (
        "link_pull.c", "    const struct mux_credit credit = {window->received,",
        "    const struct mux_credit credit = {stream->reassembly.count ? mux_reassembly_end(&stream->reassembly) : window->received,"),
    "flight: received bytes are freed before they are consumed": (
        "session_receive.c", "    if (!mux_stream_receive_credit(stream, credit->consumed, credit->limit))",
        "    if (!mux_stream_receive_credit(stream, credit->received, credit->limit + credit->received))"),
    "reassembly: bytes that are there are taken again": (
        "reassembly.c", "        uint64_t known = piece_end(piece) - offset;", "        uint64_t known = 0;"),
    "reassembly: a piece runs into the next one": (
        "reassembly.c", "        if (next && next->from - offset < part)", "        if (false)"),
    "reassembly: what was received meanwhile is handed over again": (
        "reassembly.c", "        byte_queue_skip(&piece->bytes, old);\n", ""),
    "reassembly: what was received meanwhile stays counted": (
        "reassembly.c", "        reassembly->held -= old + taken;", "        reassembly->held -= taken;"),
    "reassembly: what waited stays where it is": (
        "session_receive.c", "    if (stream->reassembly.count > 0 && !deliver_held(session, id))\n        return 0;\n", ""),
    "reassembly: any number of pieces": (
        "reassembly.c", "    if (reassembly->count == MUX_PIECES_MAX)\n        return false;\n", ""),
    "reassembly: pieces cost nothing": (
        "window.c", "    uint64_t held = window->received - window->consumed + window->held;",
        "    uint64_t held = window->received - window->consumed;"),
    "suspect: no link ever is": (
        "link_timers.c", "    if (now_us >= suspect_at(link))", "    if (false && now_us >= suspect_at(link))"),
    "suspect: one that others can stand in for from now on is not looked at": (
        "scheduler.c", "            other->output.attend(other->output.link);", "            (void)other;"),
    "suspect: what it has is looked at once": (
        "scheduler.c", "            session->rescue_us = session->now_us + RESCUE_US;", "            session->rescue_us = 0;"),
    "suspect: what it has is sent again as long as there is any": (
        "scheduler.c", "            mux_flight_want_again(&stream->flight, slot, session->double_budget);",
        "            mux_flight_want_again(&stream->flight, slot, UINT64_MAX);"),
    "links: one on whose way TCP ends gets no bulk": (
        "allowance.c", "return under_way >= (most", "return under_way + LEAST >= (most"),
    "gone: nobody attends to a link that the peer has given up": (
        "link_receive.c", "    if (other->output.attend)\n        other->output.attend(other->output.link);\n", ""),
    "gone: another link than the one that is meant ends": (
        "link_receive.c", "        if (other && other != link && other->attempt == attempt)", "        if (other && other != link)"),
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
                if source.name not in OTHER_PROGRAMS:
                    self.objects[source] = self._compile(source, source.with_suffix(".o"))

    def _cc(self, *args):
        subprocess.run([os.environ.get("CC", "cc"), *args], check=True)

    def _compile(self, source, to):
        self._cc("-std=c11", "-D_GNU_SOURCE", "-O2", "-w", f"-I{self.directory}", "-c", "-o", to, source)
        return to

    def build(self, name, file=None, old=None, new=None):
        """name: of what this makes, so that several can be made at a time."""
        objects = dict(self.objects)
        if file:
            source = (self.directory / "mux" / file).resolve()
            text = source.read_text(encoding="utf-8")
            assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
            # Beside the whole one, for it to find what it includes.
            broken = source.with_name(f"broken-{name}-{source.name}")
            broken.write_text(text.replace(old, new), encoding="utf-8")
            objects[source] = self._compile(broken, broken.with_suffix(".o"))
        program = self.directory / f"sim-program-{name}"
        self._cc("-o", program, *objects.values())
        return program


def run(program, seeds, first=0):
    try:
        done = subprocess.run([program, "--seeds", str(first), str(seeds)], capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return None
    found = re.search(r"^seed (\d+): (.*?)(?: \(replay|$)", done.stdout, re.M)
    if found:
        return int(found.group(1)) + 1, found.group(2)
    return (None, "it crashed: " + done.stderr.strip()[-200:]) if done.returncode not in (0, 1) else None


def catch(program, seeds, known):
    """At the seed that caught this copy before, if it does so still; else from the first one on."""
    return (known is not None and run(program, 1, known)) or run(program, seeds)


def main():
    if sys.argv[1:] == ["--fit"]:
        return fit()
    record = sys.argv[1] == "--record"
    arguments = sys.argv[2:] if record else sys.argv[1:]
    directory = pathlib.Path(arguments[0]).resolve()
    seeds = int(arguments[1]) if len(arguments) > 1 else 20000
    failed = 0
    known = json.loads(KNOWN.read_text(encoding="utf-8"))
    found = {}
    builder = Builder(directory)
    if run(builder.build("whole"), min(seeds, 500)):
        print("the copy that is not broken fails")
        failed += 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda at: catch(builder.build(at[0], *at[1][1]), seeds, known.get(at[1][0])), enumerate(BROKEN.items()))
        for what, caught in zip(BROKEN, results):
            if caught:
                print(f"{what}: caught by seed {caught[0] - 1 if caught[0] else '?'}: {caught[1]}", flush=True)
                found[what] = caught[0] - 1 if caught[0] else None
            else:
                print(f"{what}: NOT CAUGHT in {seeds} seeds", flush=True)
                failed += 1
    if record:
        KNOWN.write_text(json.dumps({what: seed for what, seed in found.items() if seed is not None}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
