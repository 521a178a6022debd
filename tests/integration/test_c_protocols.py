# SPDX-License-Identifier: MIT
"""What a protocol may be and a room may hold: endpoints, variants, calls, entries of any type. The protocol `typed` is of the
tests (services/gateway/plugins/test)."""
import base64
import json

import pytest
from websockets.sync.client import connect

from busclient import Bus, hub_pb2
from harness import BUILD, SLOW, Room, run
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
