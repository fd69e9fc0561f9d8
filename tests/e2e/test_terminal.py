"""What a person at a terminal sees of tunnel-client; with anything else as standard error the log is as always."""

import re

import pytest

from harness import faults, process, raw, terminal, wait

pytestmark = pytest.mark.tunnel


@pytest.fixture
def window(pair):
    """window(url, ...) starts tunnel-client at a terminal."""
    windows = []

    def start(url, *args, env=None, columns=100):
        windows.append(terminal.Terminal([pair.binaries.client, "--server", url, "--ca", pair.pki.ca, *args], env, columns))
        return windows[-1]
    yield start
    for each in windows:
        each.close()


def test_summary_and_states(window, pair, peer, tmp_path):
    """How it is set up, without the token; a line when the link is up, lost, back; nothing of the usual log below warning."""
    tokens = tmp_path / "tokens"
    tokens.write_text("s3cret-token\n", encoding="ascii")
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, kafka="127.0.0.2:1", args=["--token-file", tokens])
    proxy = faults.Proxy([("127.0.0.1", server.port)])
    url = f"https://localhost:{proxy.port}"
    shown = window(url, "--kafka", "0", "--tcp", "peer=0", env={"TUNNEL_TOKEN": "s3cret-token"})
    shown.wait_text(r"\x1b\[32m\d\d:\d\d:\d\d Connected \(TLSv1\.3 \S+\)\x1b\[0m\r\n")
    lines = shown.lines()
    assert lines[0].startswith("tunnel-client ")
    assert re.fullmatch(r"  kafka +bootstrap\.servers=127\.0\.0\.1:\d+; brokers on ports \d+-\d+", lines[1]), lines
    port = re.fullmatch(r"  peer +127\.0\.0\.1:(\d+)", lines[2])
    assert lines[3].split() == ["server", url]
    assert lines[4] == "  login        a token, as Authorization: Bearer ..."
    assert re.fullmatch(r"\d\d:\d\d:\d\d Connected .*", lines[5]) and lines[6:] == [""], lines
    assert raw.echo_once(int(port[1]), b"hello") == b"hello"
    proxy.drop()
    shown.wait_text(r"The link is back; connections continue \(TLSv1\.3")
    lines = shown.lines()
    assert re.match(r"\d\d:\d\d:\d\d warning The link to the server is lost; connecting again reason=", lines[6]), lines
    assert re.match(r"\d\d:\d\d:\d\d The link is back", lines[7]) and lines[8:] == [""], lines
    assert "s3cret" not in shown.text()
    shown.type("\x03")
    assert shown.wait_exit() == 0
    proxy.close()


def test_the_line_while_connecting(window, pair, peer):
    """It is rewritten in place, fits the terminal, says what went wrong, and is gone before anything else is written."""
    port = wait.free_port()
    shown = window(f"https://localhost:{port}", "--tcp", "peer=0", columns=80, env={"NO_COLOR": "1"})
    shown.wait_text(rf"Connecting to localhost:{port} \.\.\. 0 s")
    shown.wait_text(r"Connecting \.\.\. \d+ s, attempt 2: tcp: no connection: ")
    shown.wait_text(r"Connecting \.\.\. [1-9]\d* s, attempt \d+: tcp: no connection: Conn")
    line = shown.lines()[-1]
    assert line.startswith("Connecting ... ") and len(line) < 80, line
    assert line.endswith("tcp: no connection: Connection refused"), "the reason is whole, and names no server again"
    pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, listen=f"127.0.0.1:{port}")
    shown.wait_text("Connected", 30)
    lines = shown.lines()
    assert len([x for x in lines if "could not be reached" in x]) == 1, "the same failure is said once"
    assert not [x for x in lines if "Connecting" in x], lines
    assert "\x1b" not in shown.text(), "no escape sequence but for colour"


def test_a_server_that_stops(window, pair, peer):
    """It says so itself: that is one line too, and so is the next link."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    shown = window(f"https://localhost:{server.port}", "--tcp", "peer=0")
    shown.wait_text("Connected")
    server.stop()
    shown.wait_text("The server is about to stop; connecting again(\x1b\\[0m)?\r\n")
    pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, listen=f"127.0.0.1:{server.port}")
    wait.until(lambda: shown.text().count("Connected (") == 2, 30, shown.text)


def test_with_a_level_the_log_is_the_log(window, pair, peer):
    """Whoever asks for a level gets what the log has, with the time of day; nothing twice."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    shown = window(f"https://localhost:{server.port}", "--tcp", "peer=0", "--log-level", "info")
    shown.wait_text("tunnel-client is ready")
    lines = [x for x in shown.lines() if x]
    assert all(re.match(r"\d\d:\d\d:\d\d info  \w", line) for line in lines), lines
    assert not [x for x in lines if "Connected (" in x]


def test_json_at_a_terminal(window, pair, peer):
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    shown = window(f"https://localhost:{server.port}", "--tcp", "peer=0", "--log-format", "json")
    shown.wait_text('"event":"ready"')
    assert all(line.startswith('{"time":"2') for line in shown.lines() if line)


def test_run_leaves_the_terminal_to_the_command(pair, peer):
    """The line while connecting, and nothing of the tunnel from then on."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    shown = terminal.Terminal([pair.binaries.client, "run", "--server", f"https://localhost:{server.port}", "--ca", pair.pki.ca,
                               "--tcp", "peer=0", "--", "sh", "-c", "tty; echo done"])
    try:
        assert shown.wait_exit() == 0
        assert "Connecting to localhost" in shown.text()
        lines = [x for x in shown.lines() if x]
        assert len(lines) == 2 and lines[0].startswith("/dev/") and lines[1] == "done", lines
    finally:
        shown.close()


def test_run_that_gives_up(pair):
    """The line while connecting makes room for the one sentence."""
    shown = terminal.Terminal([pair.binaries.client, "run", "--server", f"https://127.0.0.1:{wait.free_port()}", "--tcp", "peer=0",
                               "--ready-timeout", "1", "--", "true"], columns=300)
    try:
        assert shown.wait_exit() == 1
        assert "attempt 2: tcp: " in shown.text()
        lines = [x for x in shown.lines() if x]
        assert len(lines) == 1 and lines[0].startswith("tunnel-client: the tunnel did not come up"), lines
    finally:
        shown.close()


@pytest.mark.parametrize("env, coloured", [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour(env, coloured, window, pair):
    """Of states, levels and verdicts; not where it is not wanted, and never into a pipe."""
    url = f"https://localhost:{wait.free_port()}"
    shown = window(url, "--tcp", "peer=0", env=env, columns=300)
    shown.wait_text("warning")
    shown.wait_text("attempt 2: tcp")
    assert ("\x1b[33m warning\x1b[0m" in shown.text()) == coloured == ("\x1b" in shown.text()), shown.text()
    doctor = ["doctor", "--server", url, "--tcp", "peer=0"]
    found = terminal.Terminal([pair.binaries.client, *doctor], env, columns=300)
    try:
        assert found.wait_exit() == 12
        assert ("\x1b[31mFAILED \x1b[0m" in found.text()) == coloured == ("\x1b" in found.text()), found.text()
    finally:
        found.close()
    piped = process.run([pair.binaries.client, *doctor], 20, env={"TERM": "xterm"}, check=False)
    assert "FAILED" in piped.stdout and "\x1b" not in piped.stdout


def test_no_terminal_no_change(pair, peer):
    """One event a line, with its date: what scripts read."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    client = pair.processes.start([pair.binaries.client, "--server", f"https://localhost:{server.port}", "--ca", pair.pki.ca,
                                   "--tcp", "peer=0"], "client")
    client.wait_log("tunnel-client is ready")
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info  ", line) for line in client.lines()), client.log()
    assert "\r" not in client.log()
