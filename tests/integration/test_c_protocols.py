# SPDX-License-Identifier: MIT
"""What a protocol may be and a room may hold: endpoints, variants, calls, entries of any type. The protocol `typed` is of the
tests (services/gateway/plugins/test)."""
import base64
import json
import socket

import pytest
from websockets.sync.client import connect

from busclient import Bus, hub_pb2
from harness import BUILD, SLOW, Room, free_port_block, run
from test_c_centrifuge import Json

PLUGINS = f"plugin_path: {BUILD}/test-plugins\n"
CONFIG = PLUGINS + "gateway: { protocols: [text, centrifuge-json, typed] }\n"
PNG = b"\x89PNG\r\n\x00\xff"


@pytest.fixture(scope="module")
def typed(shape):
    with Room(shape, config=CONFIG) as r:
        yield r


class Typed:
    """One connection of the protocol; joins when it is made."""

    def __init__(self, gateway, room, path="/typed", **kw):
        self.ws = connect(f"{gateway.ws}{path}?room={room}" + kw.pop("query", ""), open_timeout=10 * SLOW, max_queue=None,
                          compression=None, legacy=True, **kw)
        assert self.take().startswith("=0 ")

    def take(self, binary=False):
        m = self.ws.recv(timeout=10 * SLOW)
        assert isinstance(m, bytes) == binary, m
        return m

    def hears(self, want):
        """Entries, in one message or in several."""
        binary = isinstance(want, bytes)
        got = self.take(binary)
        while len(got) < len(want):
            got += (b"\n" if binary else "\n") + self.take(binary)
        assert got == want

    def own(self):
        """The next answer to itself, past what the room says."""
        while not (m := self.take()).startswith(("=", "?")):
            pass
        return m

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ws.close()


class Binary(Typed):
    def __init__(self, gateway, room, **kw):
        self.ws = connect(f"{gateway.ws}/typed?room={room}" + kw.pop("query", ""), open_timeout=10 * SLOW, max_queue=None,
                          compression=None, legacy=True, **kw)
        assert self.take(binary=True).startswith(b"=0 ")


def test_each_connection_gets_the_variant_that_it_picked(typed, name):
    g = typed.gateways
    with Typed(g[0], name) as text, Binary(g[-1], name, subprotocols=["typed-binary"]) as by_subprotocol, \
            Binary(g[-1], name, query="&form=binary") as by_query, Typed(g[0], name, path="/typed/too") as too:
        assert by_subprotocol.ws.subprotocol == "typed-binary" and by_query.ws.subprotocol is None
        text.ws.send(PNG)
        text.ws.send("two\nlines")
        for c in (by_subprotocol, by_query):
            c.hears(b"1 application/octet-stream " + PNG + b"\n2 text/plain two\nlines")
        too.hears("1 application/octet-stream ?\n2 text/plain two\nlines")


def test_who_speaks_json_or_lines_sees_every_entry(typed, name):
    with Typed(typed.gateway, name) as c, Json(typed.gateways[-1]) as j, typed.gateway.text(name) as lines:
        j.command({"id": 2, "subscribe": {"channel": name, "recoverable": True}})
        epoch = j.reply(2)["subscribe"]["epoch"]
        c.ws.send("one\n\"two\"")
        c.ws.send(PNG)
        j.command({"id": 3, "publish": {"channel": name, "data": {"text": "three"}}})
        want = [{"type": "text/plain", "text": 'one\n"two"'},
                {"type": "application/octet-stream", "base64": base64.b64encode(PNG).decode()}, {"text": "three"}]
        while len(j.pushes) < 3:
            j.pump()
        got = sorted((p["pub"]["offset"], json.dumps(p["pub"]["data"])) for p in j.pushes)
        assert sorted(json.dumps(w) for w in want) == sorted(d for _, d in got)
        assert [o for o, _ in got] == [1, 2, 3]
        assert sorted(lines.line() for _ in range(3)) == sorted(
            ['one "two"', f"({len(PNG)} B of application/octet-stream)", "three"])
        # Offsets stay dense for who recovers.
        with Json(typed.gateway) as again:
            again.command({"id": 2, "subscribe": {"channel": name, "recover": True, "epoch": epoch, "offset": 0}})
            r = again.reply(2)["subscribe"]
            assert r["recovered"] and [p["offset"] for p in r["publications"]] == [1, 2, 3]


def test_room_send_returns_where_it_was_stored(typed, name):
    with Json(typed.gateway) as a, Json(typed.gateways[-1]) as b:
        b.command({"id": 2, "subscribe": {"channel": name}})
        epoch = b.reply(2)["subscribe"]["epoch"]
        a.command(*({"id": i, "rpc": {"method": "room.send", "data": {"room": name, "data": {"n": i}}}} for i in (2, 3)))
        for i, offset in ((2, 1), (3, 2)):
            r = a.reply(i)["rpc"]["data"]
            assert r["offset"] == offset and r["epoch"] == epoch and r["time"] > 1e12
        while len(b.pushes) < 2:
            b.pump()
        assert [p["pub"]["data"] for p in b.pushes] == [{"n": 2}, {"n": 3}]
        # Told twice with an id it is one entry, and the answer says which.
        twice = {"room": name, "data": {"id": "0123456789", "text": "once"}}
        a.command({"id": 4, "rpc": {"method": "room.send", "data": twice}})
        first = a.reply(4)["rpc"]["data"]
        a.command({"id": 5, "rpc": {"method": "room.send", "data": twice}})
        assert a.reply(5)["rpc"]["data"] == first


@pytest.mark.parametrize("rpc, code", [
    ({"method": "room.send", "data": {"room": "a/b", "data": 1}}, 107),
    ({"method": "room.send", "data": {"room": "r"}}, 107),
    ({"method": "room.send", "data": {"data": 1}}, 107),
    ({"method": "room.send", "data": [1]}, 107),
    ({"method": "room.send"}, 107),
    ({"method": "room.nothing", "data": {}}, 108),
    ({}, 108),
])
def test_a_wrong_call_is_answered_by_the_protocols_codes(typed, rpc, code):
    with Json(typed.gateway) as c:
        c.command({"id": 2, "rpc": rpc})
        assert c.reply(2)["error"]["code"] == code


def test_another_protocol_calls_the_same_methods(typed, name):
    with Typed(typed.gateway, name) as c:
        c.ws.send('!room.send {"room":"%s","data":"x"}' % name)
        r = json.loads(c.own()[1:])
        assert r["offset"] == 1
        c.ws.send("!room.nothing {}")
        assert c.own() == "?11 unknown method"


@pytest.fixture(scope="module")
def split():
    """With a bus that has addresses."""
    with Room("split", config=CONFIG) as r:
        yield r


def test_a_service_publishes_a_type(split, name):
    with Typed(split.gateway, name) as c, Bus(split.bus["hub"][0]) as bus:
        items = [hub_pb2.PublishItem(room=name, type="text/csv", data=b"a,b"), hub_pb2.PublishItem(room=name, data=b"[1, 2]"),
                 hub_pb2.PublishItem(room=name, type="Text/CSV", data=b"x"),
                 hub_pb2.PublishItem(room=name, type="text/csv", data=b"\xff")]
        r = bus.call("Hub/Publish", hub_pb2.PublishRequest(items=items), hub_pb2.PublishResponse).results
        assert [x.code for x in r] == [0, 0, 2, 2] and "type" in r[2].message and "UTF-8" in r[3].message
        c.hears("1 text/csv a,b\n2 json [1,2]")
        assert [(p.type, p.data) for p in bus.history(name)] == [("text/csv", b"a,b"), ("", b"[1,2]")]


@pytest.mark.parametrize("command", ["check", "serve"])
def test_an_endpoint_that_is_not_served_is_refused_with_a_sentence(tmp_path, command):
    file = tmp_path / "w.yml"
    file.write_text(PLUGINS + "gateway: { protocols: [unserved] }\n")
    r = run(command, "--config", file, "--data", tmp_path / "data")
    assert r.returncode != 0
    assert "gateway.protocols: the protocol unserved wants server-sent events at /typed/sse" in r.stderr + r.stdout


class Lines:
    """A client of the protocol `lines`, on TCP."""

    def __init__(self, port, room=None):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=10 * SLOW)
        self.file = self.s.makefile("rb")
        if room:
            self.send(room)
            assert self.line() == "+"

    def send(self, text):
        self.s.sendall(text.encode() + b"\n")

    def line(self):
        return self.file.readline().decode().rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.s.close()


LINES = "gateway: {{ auth: deny, protocols: [text, centrifuge-json, lines], ports: [lines=127.0.0.1:{}] }}\n"


@pytest.fixture(scope="module")
def on_tcp():
    port = free_port_block(1)
    with Room("all", config=PLUGINS + LINES.format(port)) as r:
        yield r, port


def test_a_protocol_on_tcp_is_served(on_tcp, name):
    room, port = on_tcp
    with Lines(port, name) as ann, Lines(port, name) as bob, Json(room.gateway) as c:
        c.command({"id": 2, "subscribe": {"channel": name}})
        c.reply(2)
        ann.s.sendall(b"one\ntw")  # a message and a half
        assert {ann.line(), ann.line()} == {"=1", "1 one"} and bob.line() == "1 one"
        ann.s.sendall(b"o\nthree\n")
        assert [bob.line(), bob.line()] == ["2 two", "3 three"]
        while len(c.pushes) < 3:
            c.pump()
        assert [p["pub"]["data"]["text"] for p in c.pushes] == ["one", "two", "three"]


def test_who_ends_his_half_on_tcp_has_his_answers(on_tcp, name):
    with Lines(on_tcp[1]) as c:
        c.s.sendall(f"{name}\none\ntwo\n".encode())
        c.s.shutdown(socket.SHUT_WR)
        got = c.file.read().decode().split("\n")
        assert [g for g in got if g[:1] in ("+", "=", "?")] == ["+", "=1", "=2"]


@pytest.mark.parametrize("bytes_", [b"bad\n", b"x" * 200000])
def test_what_is_no_message_ends_a_connection_on_tcp(on_tcp, bytes_):
    with Lines(on_tcp[1]) as c:
        c.s.sendall(bytes_)
        try:
            assert c.file.read() == b""
        except ConnectionResetError:
            pass  # what was still on its way found nobody


def test_rights_hold_on_tcp(on_tcp, name):
    room, port = on_tcp

    def deny(verbs):
        room.gateway.get("/api/v1/rooms", headers={"X-Deny": verbs})
    try:
        with Lines(port, name) as c:
            deny("talk")
            c.send("one")
            assert c.line() == f"?you may not write in the room {name}"
            deny("enter")
            with Lines(port) as other:
                assert other.file.read() == b""
    finally:
        deny("")


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize("keys, sentence", [
    ("protocols: [lines]", "gateway.protocols: the protocol lines wants a port: name its address in gateway.ports, like lines=127.0.0.1:9000"),
    ("protocols: [text], ports: [lines=127.0.0.1:9000]", "gateway.ports: no protocol of gateway.protocols has an endpoint named lines"),
    ("protocols: [lines], ports: [lines]", 'gateway.ports: "lines" is not NAME=ADDRESS:PORT'),
])
def test_ports_that_do_not_fit_are_named(tmp_path, command, keys, sentence):
    file = tmp_path / "w.yml"
    file.write_text(PLUGINS + f"gateway: {{ {keys} }}\n")
    r = run(command, "--config", file, "--data", tmp_path / "data")
    assert r.returncode != 0 and sentence in r.stderr + r.stdout


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file = tmp_path / "w.yml"
        port = taken.getsockname()[1]
        file.write_text(PLUGINS + f"gateway: {{ protocols: [lines], ports: [lines={port}], listen: '127.0.0.1:0', health: off }}\n")
        r = run("serve", "--config", file, "--data", tmp_path / "data")
        assert r.returncode != 0
        assert f"gateway.ports: lines: 127.0.0.1:{port} is in use" in r.stderr + r.stdout, r.stderr
