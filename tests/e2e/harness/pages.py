"""The status pages of the programs, as a scraper and a careful person ask for them."""

import http.client
import json

from prometheus_client.parser import text_string_to_metric_families


class Pages:
    """Of a started program with --status on port 0 of loopback."""

    def __init__(self, process):
        self.process = process
        self.host, port = process.wait_for("status_page")["listen"].rsplit(":", 1)
        self.port = int(port)

    def ask(self, path, method="GET", headers=None, body=None, host=None):
        """(status, headers, body) of an answer; `host` is what stands in Host."""
        connection = http.client.HTTPConnection(self.host.strip("[]"), self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in {"Host": host or f"{self.host}:{self.port}", **(headers or {})}.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def status(self, path, **kw):
        return self.ask(path, **kw)[0]

    def json(self):
        status, headers, body = self.ask("/status.json")
        assert status == 200 and headers["Content-Type"] == "application/json"
        return json.loads(body)

    def text(self):
        status, headers, body = self.ask("/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return body.decode()

    def metrics(self):
        return Metrics(self.text())


class Metrics:
    """A parsed page of figures."""

    def __init__(self, text):
        self.families = list(text_string_to_metric_families(text))
        self.samples = [s for family in self.families for s in family.samples]

    def sum(self, name, **labels):
        """Of all series with these labels; `name` without its prefix."""
        return sum(s.value for s in self.samples
                   if s.name in (name, f"kafka_tunnel_{name}") and all(s.labels.get(k) == v for k, v in labels.items()))

    def names(self):
        """Of the samples that there are, and of what the page says may come."""
        names = {s.name for s in self.samples}
        for family in self.families:
            names.add(family.name + ("_total" if family.type == "counter" else ""))
        return names
