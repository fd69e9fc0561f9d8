"""What the filter does with requests that --access denies, against an independent reading of the protocol.

Random requests of every API in every version go through the real filter with a guard, in random pieces (build/tests/differential/guard-pipe).
What is denied must not reach the broker, and its answer must decode by Kafka's published schemas, to the last byte, with the error codes
that a broker would give; all else must reach the broker byte for byte.

KAFKA_TUNNEL_DIFFERENTIAL=N tries N requests of each API and version, beginning at seed KAFKA_TUNNEL_DIFFERENTIAL_SEED.
"""

import os
import random
import struct
import subprocess
import threading

import pytest

from harness import cache, process, schema

# The schemas are read from kafka-clients.
pytestmark = [pytest.mark.tunnel, pytest.mark.java]

CASES = int(os.environ.get("KAFKA_TUNNEL_DIFFERENTIAL", "6"))
SEED = int(os.environ.get("KAFKA_TUNNEL_DIFFERENTIAL_SEED", "1"))

PRODUCE, FETCH, METADATA, FIND_COORDINATOR, LEAVE_GROUP, CREATE_TOPICS = 0, 1, 3, 10, 13, 19
LOGIN = {17, 18, 36}
BETWEEN_BROKERS = {27, 83, 84, 85, 86, 87}
CONFIGS = {32, 33, 44}
ACLS = {29, 30, 31}
ACL_ENTITIES = {2: "topicName", 3: "groupId", 5: "transactionalId"}
LITERAL, PREFIXED = 3, 4
TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED, TRANSACTION_DENIED = 29, 30, 31, 53
UNKNOWN_TOPIC_ID = 100
BESIDE = (6, 14, 15, 55)  # what is said of names that are allowed, beside others that are not
CODES = {"topicName": TOPIC_DENIED, "groupId": GROUP_DENIED, "transactionalId": TRANSACTION_DENIED}
EDENIED = -9
# Requests that are about everything, and the field that says of what else, if there is one and it is not empty.
ABOUT_ALL = {35: ({"topicName"}, "Topics"), 43: ({"topicName"}, "TopicPartitions"), 46: ({"topicName"}, "Topics"), 75: ({"topicName"}, "Topics"),
             74: ({"topicName", "groupId"}, None), 16: ({"groupId"}, None), 66: ({"transactionalId"}, None)}
# What is not asked for: it is not looked at.
UNASKED = {"ForgottenTopicsData", (68, "TopicPartitions"), (75, "Cursor")}
# Sessions that were not begun here have tests of their own (tests/unit/test_kafka_guard.c).
NO_SESSION = {"SessionId", "SessionEpoch", "ShareSessionEpoch"}


@pytest.fixture(scope="module")
def pairs():
    """{key: (request, response)} of what clients may ask."""
    jar = next(cache.kafka_jars("pom-4.4.xml").glob("kafka-clients-*.jar"))
    requests, responses = schema.messages(jar, "Request"), schema.messages(jar, "Response")
    return {key: (requests[key], responses[key]) for key in requests
            if "broker" in requests[key].listeners and key not in LOGIN | BETWEEN_BROKERS}


def test_the_rows_are_what_kafka_says(binaries):
    """common/kafka/shapes_table.c is what its generator makes of Kafka's schemas."""
    newest, older = (next(cache.kafka_jars(pom).glob("kafka-clients-*.jar")) for pom in ("pom-4.4.xml", "pom-3.xml"))
    process.run([cache.ROOT / "common" / "kafka" / "generate-shapes", "--check", newest, older], 60)


class Rights:
    def __init__(self, apis, topics="", groups="", transactions=""):
        self.apis, self.prefixes = set(apis), {"topicName": topics, "groupId": groups, "transactionalId": transactions}

    def encoded(self):
        out = bytes([len(self.apis), *sorted(self.apis)])
        for prefix in self.prefixes.values():
            out += bytes([len(prefix)]) + prefix.encode()
        return out


def guard_pipe(binaries, cases):
    """[(result, what the broker gets, what the client gets)] for [(seed, rights, requests, responses, later requests)]."""
    path = binaries.build / "tests" / "differential" / "guard-pipe"
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pipe:
        def write():
            for seed, rights, *streams in cases:
                pipe.stdin.write(struct.pack(">I", seed) + rights.encoded())
                for stream in (*streams, b"")[:3]:
                    pipe.stdin.write(struct.pack(">I", len(stream)) + stream)
            pipe.stdin.close()
        writer = threading.Thread(target=write)
        writer.start()
        results = []
        for _ in cases:
            result, size = struct.unpack(">iI", pipe.stdout.read(8))
            up = pipe.stdout.read(size)
            size, = struct.unpack(">I", pipe.stdout.read(4))
            results.append((result, up, pipe.stdout.read(size)))
        writer.join()
    assert pipe.returncode == 0
    return results


def frame(body):
    return struct.pack(">i", len(body)) + body


def request_frame(message, version, value, correlation_id):
    header = struct.pack(">hhih", message.key, version, correlation_id, 4) + b"test" + b"\0" * (version in message.flexible)
    return frame(header + message.encode(value, version))


def frames(data):
    out = []
    while data:
        size, = struct.unpack(">i", data[:4])
        assert 4 <= size <= len(data) - 4, "the frame's length is wrong"
        out.append(data[4:4 + size])
        data = data[4 + size:]
    return out


def answer(message, version, body, correlation_id):
    """A frame decoded to the last byte."""
    header = 4 + (version in message.flexible)
    assert struct.unpack(">i", body[:4])[0] == correlation_id
    assert body[4:header] == b"\0" * (header - 4)
    value, used = message.decode(body[header:], version)
    assert used == len(body) - header, f"{len(body) - header - used} bytes too many"
    return value


def topic_id(name):
    return b"\1" + name.encode().ljust(15, b"\0")


class Names:
    """Gives a random request names that mean something, and says which it has."""

    def __init__(self, message, version, rng, rights):
        self.message, self.version, self.rng, self.rights = message, version, rng, rights
        self.denied = set()

    def name(self, entity, good):
        ok = self.rng.random() < good
        prefix = self.rights.prefixes[entity]
        if prefix and not ok:
            self.denied.add(entity)
        return (prefix if ok else "no-") + str(self.rng.randint(0, 99))

    def fill(self, value, fields, good, asked=True):
        type_of = value.get("ResourceType")
        if self.message.key in CONFIGS and type_of is not None:
            value["ResourceType"] = type_of = self.rng.choice((2, 4, 32))
        if self.message.key in ACLS and self.fill_acl(value, good):
            return
        if self.message.key == FIND_COORDINATOR and "KeyType" in value:
            value["KeyType"] = self.rng.choice((0, 1))
        for field in fields:
            if field.name not in value:
                continue
            if self.version in field.tagged:  # all of them are of brokers
                del value[field.name]
                continue
            inside = asked and field.name not in UNASKED and (self.message.key, field.name) not in UNASKED
            content = value[field.name]
            if field.fields and content is not None:
                for one in content if field.array else [content]:
                    self.fill(one, field.fields, good, inside)
            elif inside:
                value[field.name] = self.field(field, value, content, good, type_of)

    def fill_acl(self, value, good):
        find = lambda *names: next((n for n in names if n in value), None)
        type_of, name, pattern = find("ResourceType", "ResourceTypeFilter"), find("ResourceName", "ResourceNameFilter"), find(
            "ResourcePatternType", "PatternTypeFilter")
        if not type_of:
            return False
        value[type_of], value[pattern] = self.rng.choice((2, 3, 4, 5)), LITERAL if self.rng.random() < 0.9 else PREFIXED
        entity = ACL_ENTITIES.get(value[type_of])
        if entity and value[name] is not None:
            value[name] = self.name(entity, good)
        if entity and self.rights.prefixes[entity] and (value[name] is None or value[pattern] != LITERAL):
            self.denied.add(entity)
        return True

    def field(self, field, value, content, good, type_of):
        key = self.message.key
        entity = field.entity if field.entity in CODES else None
        if key == FIND_COORDINATOR and field.name in ("Key", "CoordinatorKeys"):
            entity = "transactionalId" if value.get("KeyType") == 1 else "groupId"
        if key in CONFIGS and field.name == "ResourceName":
            entity = {2: "topicName", 32: "groupId"}.get(type_of)
        if field.name == "TopicId" and field.type == "uuid":
            if value.get("Name"):  # by name
                return bytes(16)
            return topic_id(self.name("topicName", good))
        if "Regex" in field.name:
            return [] if field.array else None
        if field.name in NO_SESSION:
            return 0
        if field.name == "ReplicaId":
            return -1
        if not entity or content is None:
            return content
        if field.array:
            return [self.name(entity, good) for _ in content]
        return self.name(entity, good)


def random_request(message, version, rng, rights, good):
    value = message.random(rng, version, unknown_tags=False)
    names = Names(message, version, rng, rights)
    if message.key in (20, METADATA):  # by name or by id
        for one in value.get("Topics") or ():
            if "TopicId" in one and rng.random() < 0.5:
                one["Name"] = one["Name"] or "x"
            elif "TopicId" in one and (message.key == 20 or version >= 12):
                one["Name"] = None
            else:
                one["Name"] = one["Name"] or "x"
    names.fill(value, message.fields, good)
    if message.key == PRODUCE:
        value["Acks"] = rng.choice((1, -1))
    return value, names


def codes(value):
    """All error codes in an answer."""
    found = []
    for name, content in value.items():
        if name in ("ErrorCode", "PartitionErrorCode"):
            found.append(content)
        elif isinstance(content, dict):
            found += codes(content)
        elif isinstance(content, list):
            for one in content:
                if isinstance(one, dict):
                    found += codes(one)
    return found


def named(value, fields, within=()):
    """[(entity, name or id)] of elements of arrays, with the partitions in them."""
    found = []
    for field in fields:
        content = value.get(field.name)
        if field.name == "ForgottenTopicsData" or content is None:
            continue
        if field.fields and field.array:
            for one in content:
                found += named(one, field.fields)
        elif field.fields:
            continue
        elif field.array and field.entity in CODES:
            found += [(field.entity, one) for one in content]
        elif field.entity in CODES:
            found.append((field.entity, content))
        elif field.name == "TopicId" and field.type == "uuid":
            found.append(("id", content))
    return found


def all_versions(pairs):
    for key, (request, response) in sorted(pairs.items()):
        for version in request.valid:
            yield key, version, request, response


def test_every_api_that_is_denied_is_answered_in_its_own_version(binaries, pairs, figure):
    count = versions = 0
    for key, version, request, response in all_versions(pairs):
        cases, sent = [], []
        for seed in range(SEED, SEED + CASES):
            rng = random.Random(f"denied {key} {version} {seed}")
            rights = Rights(LOGIN)
            value, _ = random_request(request, version, rng, rights, 0.5)
            correlation_id = rng.randint(-(1 << 31), (1 << 31) - 1)
            sent.append((value, correlation_id))
            cases.append((rng.choice((0, rng.randint(1, (1 << 32) - 1))), rights, request_frame(request, version, value, correlation_id), b""))
        for (value, correlation_id), (result, up, down), case in zip(sent, guard_pipe(binaries, cases), cases):
            where = f"{request.name} v{version} seed {case[0]}"
            assert result == 0, (where, down)
            assert up == b"", where
            body, = frames(down)
            got = answer(response, version, body, correlation_id)
            assert set(codes(got)) <= {0, TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED, TRANSACTION_DENIED}, (where, got)
            # What the answer repeats, it repeats as it was, in order.
            ours = [n for n in named(value, request.fields)]
            theirs = [n for n in named(got, response.fields)]
            kinds = {kind for kind, _ in theirs}
            if not any(k == "id" for k, _ in ours):  # the schema of the answer has ids, the request none
                kinds -= {"id"}
            for kind in kinds:
                asked = [n for k, n in ours if k == kind]
                told = [n for k, n in theirs if k == kind]
                assert told == asked or key == 20, (where, kind, asked, told)
            if key == 20 and "Topics" not in value:
                assert [t["Name"] for t in got["Responses"]] == value["TopicNames"], where
            if not theirs:
                assert any(codes(got)) or named(got, response.fields) or not codes(got), (where, got)
            count += 1
        versions += 1
    figure("denied", f"{len(pairs)} APIs, {versions} versions, {count} requests")


def expected_denied(key, names, value):
    entities, field = ABOUT_ALL.get(key, (set(), None))
    return bool(names.denied or any(names.rights.prefixes[e] for e in entities) and not (field and value[field]))


def test_names_decide_what_reaches_the_broker(binaries, pairs, figure):
    """Every API allowed, with names of some topics, groups and transactional ids only."""
    passed = denied = 0
    for key, version, request, response in all_versions(pairs):
        if key == METADATA:
            continue  # has tests of its own
        cases, sent = [], []
        for seed in range(SEED, SEED + 2 * CASES):
            rng = random.Random(f"names {key} {version} {seed}")
            rights = Rights({*range(100)}, *("ok-" if rng.random() < 0.7 else "" for _ in range(3)))
            value, names = random_request(request, version, rng, rights, rng.choice((1, 0.8, 0.5)))
            sent.append((value, names, seed))
            cases.append((rng.choice((0, rng.randint(1, (1 << 32) - 1))), rights, request_frame(request, version, value, 7), b""))
        for (value, names, seed), (result, up, down), case in zip(sent, guard_pipe(binaries, cases), cases):
            where = f"{request.name} v{version} seed {seed} {value} {names.denied} {case[1].prefixes}"
            assert result == 0, (where, down)
            if not expected_denied(key, names, value):
                assert up == case[2], where
                assert down == b"", where
                passed += 1
                continue
            assert up == b"", where
            body, = frames(down)
            got = answer(response, version, body, 7)
            assert set(codes(got)) <= {0, *CODES.values(), CLUSTER_DENIED, *BESIDE}, (where, got)
            assert any(codes(got)) or named(got, response.fields) or not codes(got), (where, got)
            judge_elements(response, version, got, case[1], where)
            denied += 1
    assert passed > 100 and denied > 100
    figure("judged", f"{passed} passed, {denied} denied")


def judge_elements(response, version, got, rights, where):
    """Each topic that is denied says so, and no topic that is allowed lies."""
    prefix = rights.prefixes["topicName"]
    if not prefix:
        return
    for field in response.fields:
        for one in got.get(field.name) or () if field.array and field.fields else ():
            name = one.get("Name", one.get("Topic", one.get("TopicName")))
            if name is None and one.get("TopicId", bytes(16)) != bytes(16):
                name = one["TopicId"][1:].rstrip(b"\0").decode()
            if not name or not any(f.entity == "topicName" or f.name == "TopicId" for f in field.fields):
                continue
            if not name.startswith(prefix):
                inside = set(codes(one))
                assert inside <= {TOPIC_DENIED, GROUP_DENIED, TRANSACTION_DENIED, CLUSTER_DENIED}, (where, one)


def test_old_versions_that_only_older_kafka_has(binaries, figure):
    """Answers to versions that Kafka 4 has dropped, read by the schemas of Kafka 3."""
    jar = next(cache.kafka_jars("pom-3.xml").glob("kafka-clients-*.jar"))
    requests, responses = schema.messages(jar, "Request"), schema.messages(jar, "Response")
    count = closed = 0
    for key, request in requests.items():
        if "broker" not in request.listeners or key in LOGIN | BETWEEN_BROKERS:
            continue
        for version in request.valid:
            rng = random.Random(f"old {key} {version}")
            rights = Rights(LOGIN)
            value, _ = random_request(request, version, rng, rights, 0.5)
            (result, up, down), = guard_pipe(binaries, [(0, rights, request_frame(request, version, value, 9), b"")])
            assert up == b"", (request.name, version)
            if result == EDENIED:  # not understood: closed, as a broker would
                closed += 1
                continue
            assert result == 0, (request.name, version, down)
            body, = frames(down)
            answer(responses[key], version, body, 9)
            count += 1
    figure("answered", f"{count} versions of Kafka 3.9, {closed} not understood and closed")
    assert count > 200 and closed < 30


def test_what_is_not_understood_is_denied(binaries, pairs):
    everything = Rights(range(255))
    for key, (request, _) in pairs.items():
        version = request.valid.stop
        body = frame(struct.pack(">hhih", key, version, 5, 4) + b"test" + b"anything")
        (result, up, down), = guard_pipe(binaries, [(0, everything, body, b"")])
        assert result < 0 and up == b"" and request.name.encode() in down, (request.name, down)
    for key in (27, 58, 120, 999, -3):
        body = frame(struct.pack(">hhih", key, 0, 5, 4) + b"test" + b"anything")
        (result, up, _), = guard_pipe(binaries, [(0, everything, body, b"")])
        assert result == EDENIED and up == b"", key


def test_answers_come_in_order(binaries, pairs):
    """Allowed and denied requests, pipelined: the client gets each answer in its place, the broker what is allowed."""
    keys = [2, 8, 11, 12, 19, 32, 60, 75]
    for seed in range(SEED, SEED + 40 * CASES):
        rng = random.Random(f"order {seed}")
        allowed = {k for k in keys if rng.random() < 0.5}
        rights, stream, passing, replies = Rights(LOGIN | allowed), b"", b"", b""
        for number in range(rng.randint(1, 30)):
            request, _ = pairs[key := rng.choice(keys)]
            version = rng.choice(request.valid)
            value, _ = random_request(request, version, rng, rights, 0.5)
            body = request_frame(request, version, value, number)
            stream += body
            if key in allowed:
                passing += body
                replies += frame(struct.pack(">i", number) + b"\0" * 20 if key != 60 else struct.pack(">i", number) + b"\0" * 21)
        (result, up, down), = guard_pipe(binaries, [(rng.choice((0, rng.randint(1, (1 << 32) - 1))), rights, stream, replies)])
        assert result == 0, (seed, down)
        assert up == passing, seed
        got = [struct.unpack(">i", body[:4])[0] for body in frames(down)]
        assert got == list(range(number + 1)), (seed, got)


def produce(pairs, version, topics, acks, records=b"x" * 50):
    request, _ = pairs[PRODUCE]
    by = "TopicId" if version >= 13 else "Name"
    return request_frame(request, version, {
        "TransactionalId": None, "Acks": acks, "TimeoutMs": 1,
        "TopicData": [{by: topic_id(t) if by == "TopicId" else t, "PartitionData": [{"Index": 3, "Records": records}]} for t in topics]}, 1)


def test_a_denied_produce_without_answer_closes(binaries, pairs):
    for version in pairs[PRODUCE][0].valid:
        (result, up, down), = guard_pipe(binaries, [(0, Rights({PRODUCE}, "ok-"), produce(pairs, version, ["no-1"], 0), b"")])
        assert result == EDENIED and up == b"" and b"acks=0" in down


def test_what_is_allowed_beside_what_is_denied_is_sent_again(binaries, pairs):
    for version in pairs[PRODUCE][0].valid:
        (result, up, down), = guard_pipe(binaries, [(0, Rights({PRODUCE}, "ok-"), produce(pairs, version, ["ok-1", "no-1"], 1), b"")])
        assert result == 0 and up == b""
        got = answer(pairs[PRODUCE][1], version, frames(down)[0], 1)
        assert [t["PartitionResponses"][0]["ErrorCode"] for t in got["Responses"]] == [6, TOPIC_DENIED]  # NOT_LEADER_OR_FOLLOWER
        assert [t["PartitionResponses"][0]["Index"] for t in got["Responses"]] == [3, 3]


def test_an_unknown_topic_id_is_looked_up_by_the_client(binaries, pairs):
    request, response = pairs[FETCH]
    value, _ = random_request(request, 13, random.Random(1), Rights({FETCH}, "ok-"), 1)
    value["Topics"] = [{"TopicId": bytes([9] * 16), "Partitions": [
        {"Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": 0, "LastFetchedEpoch": -1, "LogStartOffset": -1, "PartitionMaxBytes": 1}]}]
    (result, up, down), = guard_pipe(binaries, [(0, Rights({FETCH}, "ok-"), request_frame(request, 13, value, 4), b"")])
    assert result == 0 and up == b""
    got = answer(response, 13, frames(down)[0], 4)
    assert got["ErrorCode"] == 0 and got["Responses"][0]["Partitions"][0]["ErrorCode"] == UNKNOWN_TOPIC_ID


def test_only_sessions_that_began_here_go_on(binaries, pairs):
    """A fetch session's topics are not named again: one that this connection has not begun may be anybody's."""
    request, response = pairs[FETCH]
    for version in [v for v in request.valid if v >= 7]:
        rng = random.Random(version)
        rights = Rights({FETCH}, "ok-")
        first, _ = random_request(request, version, rng, rights, 1)
        later = {**first, "SessionId": 77, "SessionEpoch": 1, "Topics": []}
        (result, up, down), = guard_pipe(binaries, [(0, rights, request_frame(request, version, later, 2), b"")])
        assert result == 0 and up == b""
        assert answer(response, version, frames(down)[0], 2)["ErrorCode"] == 70  # FETCH_SESSION_ID_NOT_FOUND
        # The broker gives it that session, and then it may.
        begun = response.random(rng, version, unknown_tags=False)
        begun.update(SessionId=77, ErrorCode=0)
        begun.pop("NodeEndpoints", None)
        reply = frame(struct.pack(">i", 1) + b"\0" * (version in response.flexible) + response.encode(begun, version))
        one = request_frame(request, version, first, 1)
        two = request_frame(request, version, later, 2)
        (result, up, down), = guard_pipe(binaries, [(rng.choice((0, 99)), rights, one, reply, two)])
        assert (result, up) == (0, one + two), (version, down)


def metadata(pairs, version, topics, create=True):
    value = {"Topics": None if topics is None else [{"TopicId": bytes(16), "Name": t} for t in topics], "AllowAutoTopicCreation": create,
             "IncludeClusterAuthorizedOperations": False, "IncludeTopicAuthorizedOperations": False}
    if version == 0 and topics is None:
        value["Topics"] = []
    return value


def metadata_reply(pairs, version, names, rng):
    response = pairs[METADATA][1]
    value = response.random(rng, version, unknown_tags=False)
    value["Brokers"] = []
    value["Topics"] = []
    for name in names:
        one = {f.name: f.default(version) for f in next(f for f in response.fields if f.name == "Topics").fields if version in f.versions}
        one.update(Name=name, TopicId=topic_id(name), Partitions=[{
            "ErrorCode": 0, "PartitionIndex": 0, "LeaderId": 1, "LeaderEpoch": 5, "ReplicaNodes": [1, 2], "IsrNodes": [1], "OfflineReplicas": []}])
        value["Topics"].append({k: v for k, v in one.items() if k in {f.name for f in next(
            f for f in response.fields if f.name == "Topics").fields if version in f.versions}})
    return value, frame(struct.pack(">i", 1) + b"\0" * (version in response.flexible) + response.encode(value, version))


def test_metadata_shows_what_may_be_seen(binaries, pairs):
    request, response = pairs[METADATA]
    for version in request.valid:
        for seed in range(SEED, SEED + 4 * CASES):
            rng = random.Random(f"metadata {version} {seed}")
            may_create = rng.random() < 0.5
            rights = Rights({METADATA} | ({CREATE_TOPICS} if may_create else set()), "ok-")
            asked = None if rng.random() < 0.3 else [rng.choice(("ok-", "no-")) + str(i) for i in range(rng.randint(0, 6))]
            everything = asked is None or version == 0 and not asked
            good = [] if everything else [t for t in asked if t.startswith("ok-") and (may_create or version >= 4)]
            there = ["ok-7", "no-7", "ok-8", "no-8"] if everything or version == 0 and not good else good
            sent, reply = metadata_reply(pairs, version, there, rng)
            (result, up, down), = guard_pipe(binaries, [(rng.choice((0, rng.randint(1, (1 << 32) - 1))), rights, request_frame(
                request, version, metadata(pairs, version, asked), 1), reply)])
            where = (version, seed, asked, may_create)
            assert result == 0, (where, down)
            got, used = request.decode(frames(up)[0][14 + (version in request.flexible):], version)
            assert [t["Name"] for t in got["Topics"] or ()] == good, where
            assert (got["Topics"] is None) == (asked is None and version > 0), where
            if version >= 4:
                assert got["AllowAutoTopicCreation"] == may_create, where
            told = answer(response, version, frames(down)[0], 1)
            names = {t["Name"]: t["ErrorCode"] for t in told["Topics"]}
            if everything:
                assert names == {"ok-7": 0, "ok-8": 0}, where
            else:
                assert names == {t: 0 if t in good else TOPIC_DENIED for t in asked}, where
            assert {**told, "Topics": None} == {**sent, "Topics": None}, where
            for one in told["Topics"]:
                if one["ErrorCode"]:
                    assert one["Partitions"] == []
                else:
                    assert one in response.decode(response.encode(sent, version), version)[0]["Topics"], where


def test_versions_that_are_not_understood_are_not_offered(binaries, pairs):
    """ApiVersions responses say no more than what the guard can read."""
    rights = Rights({18})
    request = frame(struct.pack(">hhih", 18, 0, 1, 4) + b"test")
    keys = {key: pair[0].valid.stop - 1 for key, pair in pairs.items()}
    body = struct.pack(">ihi", 1, 0, len(keys)) + b"".join(struct.pack(">hhh", key, 0, newest + 3) for key, newest in keys.items())
    (result, up, down), = guard_pipe(binaries, [(0, rights, request, frame(body))])
    assert result == 0 and up == request
    offered = down[14:]
    for at, (key, newest) in enumerate(keys.items()):
        assert struct.unpack(">hhh", offered[6 * at:6 * at + 6]) == (key, 0, newest)
