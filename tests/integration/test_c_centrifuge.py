# SPDX-License-Identifier: MIT
"""/connection/websocket with clients from npm and PyPI, and the frames themselves."""
import asyncio
import json

import pytest
from centrifuge import CentrifugeError, Client, ClientEventHandler, SubscriptionEventHandler
from centrifuge.handlers import (PublicationContext, SubscribedContext)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from harness import SANITIZER, SLOW, memory_kb, node


def test_the_npm_package_chats(room, name):
    r = node("centrifuge_chat.mjs", room.gateways[0].centrifuge, room.gateways[-1].centrifuge, name)
    assert r["subscribed"]["recoverable"] and r["subscribed"]["positioned"]
    assert r["states"] == ["connecting", "connected", "disconnected"]
    assert [p["offset"] for p in r["pubs"]] == [1, 2, 3, 4]
    assert [p["data"]["text"] for p in r["pubs"]] == ["one", "two", "three", "four"]
    assert r["pubs"][3]["data"] == {"text": "four", "nested": {"a": [1, 2, {"b": None}]}, "utf8": "早 🌞", "newline": "a\nb"}
    assert r["pubs"][0]["info"]["connInfo"] == {"name": "Bob"}
    assert r["presence"] == ["Ann", "Bob"]
    assert r["stats"] == {"numClients": 2, "numUsers": 1}
    assert r["history"] == [1, 2, 3, 4] and r["page"] == [2, 3] and r["reverse"] == [4, 3]
    assert r["top"]["offset"] == 4 and r["top"]["n"] == 0 and len(r["top"]["epoch"]) == 8
    assert r["errors"] == {"rpc": 108, "history_epoch": 112}
    assert "Bob" in r["joins"] and r["leaves"] == ["Bob"]


class Heard(SubscriptionEventHandler):
    def __init__(self):
        self.pubs = asyncio.Queue()
        self.subscribed = asyncio.Queue()

    async def on_subscribed(self, ctx: SubscribedContext):
        await self.subscribed.put(ctx)

    async def on_publication(self, ctx: PublicationContext):
        await self.pubs.put(ctx.pub)


async def person(url, channel):
    client = Client(url, events=ClientEventHandler(), min_reconnect_delay=0.05, max_reconnect_delay=0.5, timeout=10 * SLOW)
    heard = Heard()
    sub = client.new_subscription(channel, events=heard, recoverable=True, positioned=True)
    await client.connect()
    await sub.subscribe()
    await sub.ready(10 * SLOW)
    return client, sub, heard


def take(queue):
    return asyncio.wait_for(queue.get(), 10 * SLOW)


def test_the_python_package_chats(room, name):
    async def go():
        ann, ann_sub, ann_heard = await person(room.gateways[0].centrifuge, name)
        bob, bob_sub, _ = await person(room.gateways[-1].centrifuge, name)
        await bob_sub.publish({"text": "from Python"})
        pub = await take(ann_heard.pubs)
        assert pub.data == {"text": "from Python"} and pub.offset == 1
        while (await ann_sub.presence_stats()).num_clients != 2:  # Bob entered by another gateway, moments ago
            await asyncio.sleep(0.01)
        assert len((await ann_sub.presence()).clients) == 2
        history = await ann_sub.history(limit=-1)
        assert [p.offset for p in history.publications] == [1]
        with pytest.raises(CentrifugeError):
            await ann.rpc("nothing", {})
        await ann.disconnect()
        await bob.disconnect()

    asyncio.run(go())


def test_every_codec_reads_what_the_other_sent(room, name):
    async def go():
        ann, ann_sub, heard = await person(room.gateways[0].centrifuge, name)
        with room.gateways[-1].text(name) as bob:
            bob.send("plain text")
            assert (await take(heard.pubs)).data == {"text": "plain text"}
            assert await asyncio.to_thread(bob.line) == "plain text"
            await ann_sub.publish({"text": "hello", "name": "Ann"})
            assert await asyncio.to_thread(bob.line) == "Ann: hello"
            await ann_sub.publish({"text": "two\nlines", "name": "Ann"})
            assert await asyncio.to_thread(bob.line) == "Ann: two lines"
            await ann_sub.publish({"odd": [1, 2, {"x": None}]})
            assert await asyncio.to_thread(bob.line) == '{"odd":[1,2,{"x":null}]}'
            await ann_sub.publish({"text": "nameless"})
            assert await asyncio.to_thread(bob.line) == "nameless"
        await ann.disconnect()

    asyncio.run(go())


# ---- the protocol by hand ----

class Json:
    """One connection; sends commands as given, collects replies by id."""

    def __init__(self, gateway, connect_first=True, **kw):
        self.ws = connect(gateway.centrifuge, open_timeout=10 * SLOW, max_queue=None, compression=None, legacy=True, **kw)
        self.pushes, self.replies = [], {}
        if connect_first:
            self.command({"id": 1, "connect": {"data": {"name": "raw"}}})
            assert "client" in self.reply(1)["connect"]

    def command(self, *commands):
        self.ws.send("\n".join(json.dumps(c) for c in commands))

    def pump(self):
        for line in self.ws.recv(timeout=10 * SLOW).split("\n"):
            m = json.loads(line)
            if "id" in m:
                self.replies[m["id"]] = m
            elif "push" in m:
                self.pushes.append(m["push"])

    def reply(self, i):
        while i not in self.replies:
            self.pump()
        return self.replies.pop(i)

    def hear(self, channel, count):
        """The data of so many publications of a channel."""
        while True:
            heard = [p["pub"]["data"] for p in self.pushes if p.get("channel") == channel and "pub" in p]
            if len(heard) >= count:
                return heard
            self.pump()

    def closed_with(self):
        try:
            while True:
                self.pump()
        except ConnectionClosed:
            return self.ws.close_code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ws.close()


def test_connect_result_has_what_sdks_need(room):
    with Json(room.gateway, connect_first=False) as c:
        c.command({"id": 7, "connect": {"name": "test", "unknown_member": 1}})
        r = c.reply(7)["connect"]
        assert len(r["client"]) == 36 and r["version"] and r["ping"] > 0 and r["pong"] is True


def test_a_batch_is_answered_command_by_command(room, name):
    with Json(room.gateway, connect_first=False) as c:
        c.command({"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": name, "recoverable": True}},
                  {"id": 3, "publish": {"channel": name, "data": {"text": "x"}}},
                  {"id": 4, "history": {"channel": name, "limit": 10}},
                  {"id": 5, "presence_stats": {"channel": name}}, {"id": 6, "rpc": {"method": "x"}})
        assert "connect" in c.reply(1)
        assert c.reply(2)["subscribe"]["epoch"]
        assert c.reply(3)["publish"] == {}
        h = c.reply(4)["history"]
        assert {"publications", "epoch", "offset"} <= set(h)
        assert {"num_clients", "num_users"} <= set(c.reply(5)["presence_stats"])
        assert c.reply(6)["error"]["code"] == 108


def test_who_leaves_before_the_answer_gets_both_answers(room, name):
    with Json(room.gateway) as c:
        for i in range(2, 2002, 2):  # more often than requests may wait
            c.command({"id": i, "subscribe": {"channel": name}}, {"id": i + 1, "unsubscribe": {"channel": name}})
            assert c.reply(i + 1)["unsubscribe"] == {}
            assert c.reply(i).keys() & {"subscribe", "error"}
        c.command({"id": 9000, "subscribe": {"channel": name}})
        assert "subscribe" in c.reply(9000)


@pytest.mark.parametrize("command, member, code", [
    ({"rpc": {"method": "x", "data": {}}}, "error", 108),
    ({"presence": {"channel": "nobody-there"}}, "presence", None),
    ({"history": {"channel": "nobody-there"}}, "history", None),
    ({"ping": {}}, "error", 108),
    ({"subscribe": {"channel": "x" * 256}}, "error", 107),
    ({"subscribe": {"channel": "typed", "type": 1}}, "error", 108),
    ({"sub_refresh": {"channel": "a", "token": "x"}}, "error", None),
])
def test_a_command_is_answered_by_the_protocols_codes(room, command, member, code):
    with Json(room.gateway) as c:
        c.command({"id": 5} | command)
        r = c.reply(5)
        assert member in r, r
        if code:
            assert r["error"]["code"] == code


@pytest.mark.parametrize("offset", ["3", -1, 2**64, 1.5, True])
def test_an_offset_that_is_none_is_error_107(room, name, offset):
    with Json(room.gateway) as c:
        c.command({"id": 2, "subscribe": {"channel": name, "recover": True, "offset": offset}},
                  {"id": 3, "history": {"channel": name, "limit": 1, "since": {"offset": offset}}},
                  {"id": 4, "history": {"channel": name, "limit": 1, "since": {"offset": None}}})
        assert c.reply(2)["error"]["code"] == 107 and c.reply(3)["error"]["code"] == 107
        assert "history" in c.reply(4)


def test_subscribing_twice_is_error_105(room, name):
    with Json(room.gateway) as c:
        c.command({"id": 2, "subscribe": {"channel": name}}, {"id": 3, "subscribe": {"channel": name}})
        assert "subscribe" in c.reply(2)
        assert c.reply(3)["error"]["code"] == 105


def test_empty_data_is_error_107(room, name):
    with Json(room.gateway) as c:
        c.command({"id": 2, "publish": {"channel": name}})
        assert c.reply(2)["error"]["code"] == 107


@pytest.mark.parametrize("frame", ["not json", "{", "", "[]", '"text"', '{"id":1}\n{', '{"id":"one","connect":{}}'])
def test_a_bad_frame_is_closed_with_3501(room, frame):
    with Json(room.gateway, connect_first=False) as c:
        c.ws.send(frame)
        assert c.closed_with() == 3501


@pytest.mark.parametrize("first", [{"id": 1, "subscribe": {"channel": "a"}}, {"id": 1, "publish": {"channel": "a", "data": {}}},
                                   {"connect": {}}])
def test_connect_comes_first_and_has_an_id(room, first):
    with Json(room.gateway, connect_first=False) as c:
        c.command(first)
        assert c.closed_with() == 3501


def test_a_second_connect_is_closed_with_3501(room):
    with Json(room.gateway) as c:
        c.command({"id": 2, "connect": {}})
        assert c.closed_with() == 3501


def test_deep_nesting_is_refused_and_nothing_falls(room, name):
    with Json(room.gateway) as c:
        c.ws.send('{"id":2,"publish":{"channel":"%s","data":%s}}' % (name, "[" * 20000 + "]" * 20000))
        try:
            c.pump()
            assert c.replies[2]["error"]["code"] == 107
        except ConnectionClosed:
            assert c.ws.close_code == 3501
    with Json(room.gateway):
        pass


def test_subprotocol_is_echoed_and_does_not_leak(room):
    with connect(room.gateway.centrifuge, subprotocols=["centrifuge-json"]) as a:
        assert a.subprotocol == "centrifuge-json"
    for _ in range(5):
        with connect(room.gateway.centrifuge) as b:
            assert b.subprotocol is None


def test_a_member_that_goes_is_counted_out_quickly(room, name):
    with Json(room.gateway) as a:
        a.command({"id": 2, "subscribe": {"channel": name}})
        a.reply(2)
        with Json(room.gateways[-1]) as b:
            b.command({"id": 2, "subscribe": {"channel": name}})
            b.reply(2)
            i = 10
            while True:
                a.command({"id": i, "presence_stats": {"channel": name}})
                if a.reply(i)["presence_stats"]["num_clients"] == 2:
                    break
                i += 1
                assert i < 400
            b.ws.socket.close()
        for _ in range(400):
            i += 1
            a.command({"id": i, "presence_stats": {"channel": name}})
            if a.reply(i)["presence_stats"]["num_clients"] == 1:
                return
    raise AssertionError("the member that vanished is still counted")


def test_data_that_is_nested_too_deep_is_107_and_the_connection_goes_on(room, name):
    with Json(room.gateway) as c:
        for depth in (64, 1000):
            c.ws.send('{"id":2,"publish":{"channel":"%s","data":%s}}' % (name, "[" * depth + "]" * depth))
            assert c.reply(2)["error"]["code"] == 107
            c.command({"id": 3, "publish": {"channel": name, "data": [[1]]}})
            assert c.reply(3)["publish"] == {}


def test_a_limit_of_null_is_none_and_an_unknown_command_is_an_error(room, name):
    with Json(room.gateway) as c:
        c.command({"id": 2, "publish": {"channel": name, "data": 1}})
        c.reply(2)
        c.command({"id": 3, "history": {"channel": name, "limit": None}})
        h = c.reply(3)["history"]
        assert h["offset"] == 1 and not h.get("publications")
        c.command({"id": 4, "dance": {}})
        assert "error" in c.reply(4)


# ---- in order ----

def test_what_one_frame_says_takes_effect_in_its_order(room, name):
    """Of rooms that nobody was in: the subscription comes first, and what is said behind it is heard; a read sees what was
    said before it, and a count him who counts."""
    with Json(room.gateway) as c:
        for i in range(0, 200, 10):
            channel = f"{name}-{i}"
            c.command({"id": i + 2, "subscribe": {"channel": channel}}, {"id": i + 3, "publish": {"channel": channel, "data": {"n": i}}},
                      {"id": i + 4, "history": {"channel": channel, "limit": 5}}, {"id": i + 5, "presence_stats": {"channel": channel}},
                      {"id": i + 6, "publish": {"channel": channel, "data": {"n": -i}}})
            assert c.reply(i + 2)["subscribe"]["offset"] == 0
            assert c.reply(i + 3)["publish"] == {}
            assert [p["data"] for p in c.reply(i + 4)["history"]["publications"]] == [{"n": i}]
            assert c.reply(i + 5)["presence_stats"]["num_clients"] == 1
            assert c.reply(i + 6)["publish"] == {}
            assert c.hear(channel, 2) == [{"n": i}, {"n": -i}]


def test_who_subscribes_and_publishes_without_waiting_hears_himself(room, name):
    assert node("centrifuge_order.mjs", room.gateway.centrifuge, name, "20") == {"plain": 20, "batched": 20}


def test_who_leaves_and_comes_again_was_away_before_he_came(room, name):
    with Json(room.gateway) as watcher, Json(room.gateway, connect_first=False) as c:
        watcher.command({"id": 2, "subscribe": {"channel": name, "join_leave": True}})
        watcher.reply(2)
        c.command({"id": 1, "connect": {}})
        who = c.reply(1)["connect"]["client"]

        def see(count):
            """The first that the watcher is told of him."""
            while True:
                told = [kind for p in watcher.pushes if p["channel"] == name for kind in ("join", "leave")
                        if kind in p and p[kind]["info"]["client"] == who]
                if len(told) >= count:
                    return told
                watcher.pump()

        c.command({"id": 2, "subscribe": {"channel": name}})
        assert see(1) == ["join"]
        c.command({"id": 3, "unsubscribe": {"channel": name}}, {"id": 4, "subscribe": {"channel": name}})
        assert see(3) == ["join", "leave", "join"]


def test_a_long_pipeline_waits_and_is_not_refused(room, name):
    with Json(room.gateway) as c:
        for first in range(10, 3010, 500):
            c.command(*({"id": i, "publish": {"channel": name, "data": {"n": i}}} for i in range(first, first + 500)))
        for i in range(10, 3010):
            assert c.reply(i).get("publish") == {}


def test_who_asks_for_much_at_once_hurts_nobody(room, name):
    """A thousand histories in two frames: a few are read at a time, and who speaks meanwhile is heard."""
    pids = [p.pid for p in room.processes.values()]
    with Json(room.gateway) as c, Json(room.gateway) as other:
        c.command(*({"id": i, "publish": {"channel": name, "data": {"text": "x" * 900}}} for i in range(10, 60)))
        for i in range(10, 60):
            c.reply(i)
        before = sum(memory_kb(p) for p in pids)
        for first in range(100, 1100, 500):
            c.command(*({"id": i, "history": {"channel": name, "limit": 300}} for i in range(first, first + 500)))
        other.command({"id": 2, "publish": {"channel": f"{name}-2", "data": {}}}, {"id": 3, "history": {"channel": name, "limit": 300}})
        assert other.reply(2).get("publish") == {} and len(other.reply(3)["history"]["publications"]) == 50
        for i in range(100, 1100):
            assert len(c.reply(i)["history"]["publications"]) == 50
        if not SANITIZER:
            assert sum(memory_kb(p) for p in pids) - before < 60_000
