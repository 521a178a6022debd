# SPDX-License-Identifier: MIT
"""The bus ports: what they say to another language, and what hostile bytes do to them (nothing)."""
import concurrent.futures
import contextlib
import random
import socket
import struct
import threading

import pytest

from busclient import Bus, CallFailed, bus_pb2, event_of, events, files_pb2, hub_pb2, ingest_pb2
from harness import SLOW, Room, as_root, memory_kb, until
from test_f_live import watch

HELLO = b"\0SP\0"
REQ, REP, PUB, SUB = 48, 49, 32, 33


@pytest.fixture(scope="module")
def split():
    with Room("split") as r:
        yield r


SERVICES = ["hub", "ingest", "filestore"]


def port(url):
    return int(url.rsplit(":", 1)[1])


def alive(split):
    """Everything answers, from the bus to the client."""
    for s in SERVICES:
        with Bus(split.bus[s][0]) as bus:
            assert bus.describe().service == s
    with split.gateways[0].text("alive") as a, split.gateways[1].text("alive") as b:
        a.send("yes")
        assert b.line() == "yes"
    for s in SERVICES:
        assert split.processes[s].alive()


@pytest.mark.parametrize("service", SERVICES)
def test_describe_in_another_language(split, service):
    with Bus(split.bus[service][0]) as bus:
        d = bus.describe()
        assert d.service == service and d.instance.startswith(service + "-") and d.version and not d.reason
        assert d.lanes and d.lanes[0].startswith("tcp://*:")


def test_publish_history_and_events_in_another_language(split):
    with Bus(split.bus["hub"][0]) as bus, events(split.bus["hub"][1], b"room/bus\0") as sub:
        until(lambda: publish_and_hear(bus, sub), 20, "the first event")
        before = bus.history("bus")
        r = bus.call("Hub/Publish", hub_pb2.PublishRequest(items=[
            hub_pb2.PublishItem(room="bus", kind=1, key=b"key-00000001", data=b'{"text":"a"}'),
            hub_pb2.PublishItem(room="bus", kind=1, key=b"key-00000002", data=b'{"text":"b"}'),
            hub_pb2.PublishItem(room="bus", kind=1, key=b"key-00000001", data=b'{"text":"a"}')]), hub_pb2.PublishResponse)
        offsets = [x.offset for x in r.results]
        assert offsets[1] == offsets[0] + 1 and offsets[2] == offsets[0] and r.results[2].duplicate
        assert [p.offset for p in bus.history("bus")] == [p.offset for p in before] + offsets[:2]
        got = []
        while len(got) < 2:
            topic, e = event_of(sub.recv())
            assert topic == "room/bus" and e.room.epoch == r.results[0].epoch
            got += [p.offset for p in e.room.publications if p.offset >= offsets[0]]
        assert got == offsets[:2]


def publish_and_hear(bus, sub):
    import pynng
    bus.call("Hub/Publish", hub_pb2.PublishRequest(items=[hub_pb2.PublishItem(room="bus", kind=1, data=b'{"text":"?"}')]),
             hub_pb2.PublishResponse)
    sub.recv_timeout = 200
    try:
        return sub.recv()
    except pynng.Timeout:
        return None
    finally:
        sub.recv_timeout = 10000


@pytest.mark.parametrize("service", SERVICES)
def test_an_unknown_method_is_told(split, service):
    with Bus(split.bus[service][0]) as bus:
        for method in ("Hub/Nothing", "Nothing/Publish", ""):
            with pytest.raises(CallFailed) as e:
                bus.call(method, hub_pb2.RoomsRequest(), hub_pb2.RoomsResponse)
            assert e.value.code in (bus_pb2.CODE_UNKNOWN_METHOD, bus_pb2.CODE_INVALID)


WRONG = [
    ("hub", "Hub/Publish", hub_pb2.PublishRequest(items=[hub_pb2.PublishItem(room="../x", data=b"{}")])),
    ("hub", "Hub/Publish", hub_pb2.PublishRequest(items=[hub_pb2.PublishItem(room="a", data=b"not json")])),
    ("hub", "Hub/Publish", hub_pb2.PublishRequest(items=[hub_pb2.PublishItem(room="a", data=b"{}", key=b"k" * 10000)])),
    ("hub", "Hub/History", hub_pb2.HistoryRequest(room="", limit=4294967295)),
    ("hub", "Hub/Presence", hub_pb2.PresenceRequest(room="\x01")),
    ("ingest", "Ingest/Watch", ingest_pb2.WatchRequest(stream="nothing", lease="x", lease_ms=4294967295)),
    ("filestore", "Files/Create", files_pb2.CreateRequest(id="../../etc/passwd", length=10)),
    ("filestore", "Files/Create", files_pb2.CreateRequest(id="a" * 26, length=(1 << 64) - 1)),
    *[("filestore", "Files/Create", files_pb2.CreateRequest(id="c" * 26, length=10, **{k: v}))
      for k, v in [("filetype", "audio/x\r\nX-Injected: 1"), ("filetype", "audio"), ("filetype", "audio/"),
                   ("filetype", "text/plain; charset=x"), ("metadata", "filename YQ==\r\nX-Injected: 1"),
                   ("filename", "a\nb"), ("name", "a\x7fb")]],
    ("filestore", "Files/Write", files_pb2.WriteRequest(id="b" * 26, offset=(1 << 64) - 1, data=b"x")),
    ("filestore", "Files/Read", files_pb2.ReadRequest(id="../hub/room.db", length=4294967295)),
    ("filestore", "Files/Delete", files_pb2.DeleteRequest(id="")),
]


@pytest.mark.parametrize("service, method, request_", WRONG, ids=[f"{w[1]}-{i}" for i, w in enumerate(WRONG)])
def test_wrong_requests_are_refused_with_a_code(split, service, method, request_):
    with Bus(split.bus[service][0]) as bus:
        call = bus_pb2.Call(method=f"watchroom.v1.{method}", body=request_.SerializeToString())
        answer = bus_pb2.Answer.FromString(bus.raw(call.SerializeToString()))
        if answer.code == 0:  # a batch is answered item by item
            results = hub_pb2.PublishResponse.FromString(answer.body).results
            assert results and all(r.code and r.message for r in results), answer
        else:
            assert answer.message
    alive(split)


def test_raw_newlines_do_not_reach_the_log(split):
    """They separate messages in the JSON protocol: refused, or taken out."""
    with Bus(split.bus["hub"][0]) as bus:
        r = bus.call("Hub/Publish", hub_pb2.PublishRequest(items=[
            hub_pb2.PublishItem(room="newline", kind=1, data=b'{"a":\n1,\r\n"b":"x\\ny"}')]), hub_pb2.PublishResponse).results[0]
        if not r.code:
            assert bus.history("newline")[0].data == b'{"a":1,"b":"x\\ny"}'


def handshake(address, protocol):
    s = socket.create_connection(address, timeout=10 * SLOW)
    s.sendall(HELLO + struct.pack(">HH", protocol, 0))
    peer = b""
    while len(peer) < 8:
        chunk = s.recv(8 - len(peer))
        if not chunk:
            raise EOFError
        peer += chunk
    assert peer[:4] == HELLO
    return s


@pytest.fixture
def viewer(split):
    """Somebody who watches the demo, so that its own pub socket has a subscriber and its pictures flow."""
    with watch(split.gateways[0]) as v:
        pictures(v)
        yield v


def pictures(v, count=25):
    """So many fragments come from now on: what had come before is passed over."""
    with contextlib.suppress(TimeoutError):
        while True:
            v.recv(0)
    while count:
        count -= isinstance(v.recv(20 * SLOW), bytes)


def doors(split):
    """(service, port, the protocol of who dials it): the calls and events of each, and the running stream's own events."""
    for s in SERVICES:
        yield s, port(split.bus[s][0]), REQ
        yield s, port(split.bus[s][1]), SUB
    with Bus(split.bus["ingest"][0]) as bus:
        demo = bus.call("Ingest/Streams", ingest_pb2.StreamsRequest(), ingest_pb2.StreamsResponse).streams[0]
        assert demo.watchers > 0
    yield "ingest", port(demo.event_url), SUB


def drained(s):
    """Until the other side closes or says nothing more within a moment."""
    s.settimeout(0.3)
    try:
        while s.recv(65536):
            pass
    except OSError:
        pass
    s.close()


def test_handshake_garbage_closes_that_connection_alone(split, viewer):
    rng = random.Random(4)
    greetings = [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\0" * 8, b"\xff" * 64, HELLO + b"\xff\xff\0\0", b"\0SP\1\0\x30\0\0",
                 HELLO + struct.pack(">HH", PUB, 0), HELLO, b"\x16\x03\x01\x02\0\x01\0", rng.randbytes(4096)]
    for _, p, _ in doors(split):
        for g in greetings:
            s = socket.create_connection(("127.0.0.1", p), timeout=10 * SLOW)
            s.sendall(g)
            drained(s)
    alive(split)
    pictures(viewer)


def test_fin_then_reset_does_not_kill_the_listeners(split, viewer):
    """The bug of NNG before 1.6 that makes a listener deaf for good; the bus listens anew."""
    linger = struct.pack("ii", 1, 0)

    def hit(p):
        # The delay between the two is what it hangs on: from none to a fifth of a second.
        for delay in [0, 0, 1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.09, 0.1, 0.11, 0.15, 0.2] * 2:
            try:
                s = socket.create_connection(("127.0.0.1", p), timeout=10 * SLOW)
            except OSError:
                return  # deaf already, or its backlog is full
            s.shutdown(socket.SHUT_WR)
            threading.Event().wait(delay)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            s.close()

    attacked = list(doors(split))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(hit, [p for _, p, _ in attacked]))
    until(lambda: all(can_describe(split, s) for s in SERVICES), 40, "the listeners coming back")
    until(lambda: all(can_subscribe(p) for _, p, protocol in attacked if protocol == SUB), 40, "the events' listeners coming back")
    alive(split)
    pictures(viewer)
    with watch(split.gateways[1]) as another:
        pictures(another)


def can_describe(split, service):
    import pynng
    try:
        with Bus(split.bus[service][0]) as bus:
            bus.socket.recv_timeout = 2000
            bus.socket.send_timeout = 2000
            return bool(bus.describe())
    except pynng.NNGException:
        return False


def can_subscribe(p):
    try:
        # A deaf listener still answers handshakes; a pub socket that lives closes on a subscriber that talks, or beats.
        with handshake(("127.0.0.1", p), SUB) as sock:
            sock.settimeout(2)
            sock.sendall(struct.pack(">Q", 1) + b"x")
            sock.recv(1)
    except (OSError, EOFError):
        return False
    return True


@pytest.mark.parametrize("length", [(1 << 64) - 1, 1 << 63, 3 << 30, 64 << 20])
def test_a_claimed_length_reserves_nothing(split, viewer, length):
    before = {s: memory_kb(split.processes[s].pid, "VmSize") for s in SERVICES}
    held = []
    for service, p, protocol in doors(split):
        for _ in range(5):
            try:
                s = handshake(("127.0.0.1", p), protocol)
                s.sendall(struct.pack(">Q", length) + b"x" * 100)
                held.append(s)
            except (OSError, EOFError):
                pass
    alive(split)
    pictures(viewer)
    for s in SERVICES:
        assert memory_kb(split.processes[s].pid, "VmSize") - before[s] < 200 * 1024
    for s in held:
        s.close()


def test_random_bytes_as_calls(split):
    """Random, truncated and mutated protobuf behind a good SP handshake; the service answers with codes or not at all."""
    rng = random.Random(7)
    good = [bus_pb2.Call(method=f"watchroom.v1.{m}", trace_id="t", deadline_ms=100, body=r.SerializeToString()).SerializeToString()
            for _, m, r in WRONG]
    for service in SERVICES:
        p = port(split.bus[service][0])
        for i in range(150):
            body = rng.choice(good)
            kind = i % 5
            if kind == 0:
                body = rng.randbytes(rng.randrange(0, 2000))
            elif kind == 1:
                body = body[:rng.randrange(len(body))]
            elif kind == 2:
                at = rng.randrange(len(body))
                body = body[:at] + rng.randbytes(4) + body[at + 4:]
            elif kind == 3:
                body = body * rng.randrange(2, 50)
            try:
                s = handshake(("127.0.0.1", p), REQ)
            except (OSError, EOFError):
                continue
            head = struct.pack(">I", 0x80000000 | rng.getrandbits(31)) if kind != 4 else rng.randbytes(rng.randrange(0, 9))
            s.sendall(struct.pack(">Q", len(head) + len(body)) + head + body)
            if i % 3 == 0:
                s.settimeout(0.05)
                try:
                    s.recv(4096)
                except OSError:
                    pass
            s.close()
    alive(split)


def test_a_caller_that_reads_no_answers_holds_nobody(split):
    """NNG's rep contexts all wait for such a peer unless it is cut off."""
    call = bus_pb2.Call(method="watchroom.v1.Hub/History", body=hub_pb2.HistoryRequest(room="big", limit=1000).SerializeToString())
    with Bus(split.bus["hub"][0]) as bus:
        for _ in range(5):
            bus.call("Hub/Publish", hub_pb2.PublishRequest(items=[
                hub_pb2.PublishItem(room="big", kind=1, data=b'{"text":"%s"}' % (b"x" * 60000)) for _ in range(10)]), hub_pb2.PublishResponse)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(10 * SLOW)
    s.connect(("127.0.0.1", port(split.bus["hub"][0])))
    s.sendall(HELLO + struct.pack(">HH", REQ, 0))
    body = call.SerializeToString()
    try:
        for i in range(64):
            s.sendall(struct.pack(">QI", 4 + len(body), 0x80000001 + i) + body)
    except OSError:
        pass
    alive(split)
    s.close()


def test_garbage_events_do_not_hurt_a_gateway():
    """A hub that publishes nonsense: a gateway takes it as it takes anything from outside."""
    import pynng
    rng = random.Random(11)
    with Room("split") as r:
        port_ = r.base + 30
        with pynng.Pub0(listen=f"tcp://127.0.0.1:{port_}") as pub:
            r.processes["hub"].kill()
            # The same address, another hub: it describes itself well and then talks rubbish.
            from watchroom.v1 import node_pb2
            with pynng.Rep0(recv_timeout=200, send_timeout=2000) as rep:
                until(lambda: listens(rep, r.bus["hub"][0]), 10)
                for _ in range(400):
                    try:
                        call = bus_pb2.Call.FromString(rep.recv())
                        if call.method.endswith("Describe"):
                            body = node_pb2.NodeInfo(service="hub", instance="hub-false", version="x",
                                                     lanes=[f"tcp://*:{port_}"]).SerializeToString()
                            rep.send(bus_pb2.Answer(body=body).SerializeToString())
                        else:
                            rep.send(rng.randbytes(rng.randrange(0, 300)))
                    except pynng.Timeout:
                        pass
                    for topic in (b"room/lobby\0", b"room/\0", b"node/hub/x\0", b"room/lobby", b"file/lobby\0"):
                        pub.send(topic + rng.randbytes(rng.randrange(0, 200)))
                        e = bus_pb2.Event(instance="hub-false", time_ms=rng.getrandbits(62))
                        e.room.room = "lobby"
                        e.room.epoch = "e" * rng.randrange(0, 300)
                        e.room.publications.add(offset=rng.getrandbits(63), data=rng.randbytes(20))
                        e.room.top = rng.getrandbits(64)
                        pub.send(b"room/lobby\0" + e.SerializeToString())
        r.processes["hub"].start()
        r.wait_healthy(40)
        with r.gateways[0].text("after") as a, r.gateways[1].text("after") as b:
            a.send("still")
            assert b.line(20) == "still"


def connections_to(p):
    """The ports that established connections to that one come from."""
    rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
    return [int(r[1].split(":")[1], 16) for r in rows if r[3] == "01" and int(r[2].split(":")[1], 16) == p]


def test_a_lane_whose_packets_vanish_is_dialled_again():
    """As when the hub's host lost its power: nobody says that the connections ended."""
    with Room("split") as r, r.gateways[0].text("dark") as a, r.gateways[1].text("dark") as b, contextlib.ExitStack() as undo:
        a.send("before")
        assert b.line() == "before"
        events_port = port(r.bus["hub"][1])
        lost = connections_to(events_port)
        assert len(lost) >= 2
        for come in lost:
            for way in (("--sport", events_port, "--dport", come), ("--dport", events_port, "--sport", come)):
                rule = ["INPUT", "-i", "lo", "-p", "tcp", *map(str, way), "-j", "DROP"]
                as_root("iptables", "-w", "-I", *rule)
                undo.callback(as_root, "iptables", "-w", "-D", *rule)
        until(lambda: len(set(connections_to(events_port)) - set(lost)) >= 2 and not set(connections_to(events_port)) & set(lost),
              40, "the lanes being dialled again")
        a.send("after")
        while b.line(20) != "after":
            pass


def listens(sock, url):
    import pynng
    try:
        sock.listen(url)
        return True
    except pynng.NNGException:
        return False
