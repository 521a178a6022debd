# SPDX-License-Identifier: MIT
"""What was missed is made up for: by a client that was away, and by a gateway that missed it on the bus."""
import asyncio
import concurrent.futures
import contextlib
import socket
import sqlite3
import threading

import pytest
import requests

from busclient import Bus, hub_pb2
from harness import SLOW, Process, Room, until
from test_c_centrifuge import Json, person, take


def subscribe(c, i, name, **kw):
    c.command({"id": i, "subscribe": {"channel": name, "recoverable": True, "positioned": True} | kw})
    return c.reply(i)["subscribe"]


def fill(gateway, name, texts):
    with gateway.text(name) as t:
        for x in texts:
            t.send(x)
        t.until(texts[-1])


def test_recovery_gives_exactly_what_was_missed(room, name):
    fill(room.gateway, name, [f"m{i}" for i in range(1, 11)])
    with Json(room.gateways[-1]) as c:
        epoch = subscribe(c, 2, name)["epoch"]
        assert len(epoch) == 8
        c.command({"id": 3, "unsubscribe": {"channel": name}})
        c.reply(3)
        r = subscribe(c, 4, name, recover=True, offset=4, epoch=epoch)
        assert r["recovered"] is True and r["was_recovering"] is True
        assert [p["offset"] for p in r["publications"]] == [5, 6, 7, 8, 9, 10]
        assert [p["data"]["text"] for p in r["publications"]] == [f"m{i}" for i in range(5, 11)]
        assert r["offset"] == 4  # what the client sent: it moves on by the publications


def test_nothing_missed_is_recovered_with_nothing(room, name):
    fill(room.gateway, name, ["a", "b"])
    with Json(room.gateway) as c:
        epoch = subscribe(c, 2, name)["epoch"]
        c.command({"id": 3, "unsubscribe": {"channel": name}})
        c.reply(3)
        r = subscribe(c, 4, name, recover=True, offset=2, epoch=epoch)
        assert r["recovered"] is True and not r.get("publications")


@pytest.mark.parametrize("position", [{"offset": 1, "epoch": "otherone"}, {"offset": 99}, {"epoch": "_"}])
def test_a_position_that_is_not_of_this_log_is_not_recovered(room, name, position):
    fill(room.gateway, name, ["a", "b", "c"])
    with Json(room.gateway) as c:
        r = subscribe(c, 2, name, recover=True, **position)
        assert not r.get("recovered") and r["was_recovering"] is True and not r.get("publications")
        assert r["offset"] == 3 and len(r["epoch"]) == 8


def test_more_than_the_limit_is_not_recovered_by_halves(room, name):
    fill(room.gateway, name, [f"m{i}" for i in range(310)])
    with Json(room.gateway) as c:
        epoch = subscribe(c, 2, name)["epoch"]
        c.command({"id": 3, "unsubscribe": {"channel": name}})
        c.reply(3)
        r = subscribe(c, 4, name, recover=True, offset=1, epoch=epoch)
        assert not r.get("recovered") and not r.get("publications") and r["offset"] == 310
        assert subscribe_again(c, name, 11, epoch) == list(range(12, 311))


def subscribe_again(c, name, offset, epoch):
    c.command({"id": 8, "unsubscribe": {"channel": name}})
    c.reply(8)
    r = subscribe(c, 9, name, recover=True, offset=offset, epoch=epoch)
    assert r["recovered"] is True
    return [p["offset"] for p in r["publications"]]


def test_history_pages_both_ways(room, name):
    fill(room.gateway, name, [f"m{i}" for i in range(1, 8)])
    with Json(room.gateways[-1]) as c:

        def history(i, **kw):
            c.command({"id": i, "history": {"channel": name} | kw})
            return c.reply(i)["history"]

        top = history(2)
        assert top["offset"] == 7 and top["publications"] == []
        epoch = top["epoch"]
        assert [p["offset"] for p in history(3, limit=3)["publications"]] == [1, 2, 3]
        assert [p["offset"] for p in history(4, limit=3, since={"offset": 3, "epoch": epoch})["publications"]] == [4, 5, 6]
        assert [p["offset"] for p in history(5, limit=3, reverse=True)["publications"]] == [7, 6, 5]
        assert [p["offset"] for p in history(6, limit=9, reverse=True, since={"offset": 3})["publications"]] == [2, 1]
        assert [p["offset"] for p in history(7, limit=-1)["publications"]] == list(range(1, 8))
        c.command({"id": 8, "history": {"channel": name, "limit": 1, "since": {"offset": 1, "epoch": "otherone"}}})
        assert c.reply(8)["error"]["code"] == 112
        c.command({"id": 9, "history": {"channel": name, "limit": 1, "reverse": True, "since": {"offset": 0}}})
        assert c.reply(9)["error"]["code"] == 107


def test_what_a_room_does_not_keep_is_neither_read_nor_recovered(fresh):
    """From the first moment on: that the store drops it later is its own affair."""
    r = fresh(config="hub: { history_count: 5 }\n"
                     "rooms: { short: { history: { count: 20, age: 1h } }, 'two-*': { history: { count: 2 } } }\n")
    with Json(r.gateway) as c:
        for number, (name, keeps) in enumerate([("short", 20), ("two-of-many", 2), ("other", 5)]):
            fill(r.gateway, name, [f"m{i}" for i in range(30)])
            i = 10 * (number + 1)
            c.command({"id": i, "history": {"channel": name, "limit": -1}})
            history = c.reply(i)["history"]
            assert [p["offset"] for p in history["publications"]] == list(range(31 - keeps, 31))
            assert history["offset"] == 30
            lost = subscribe(c, i + 1, name, recover=True, offset=29 - keeps, epoch=history["epoch"])
            assert lost["was_recovering"] and not lost.get("recovered") and not lost.get("publications")
            c.command({"id": i + 2, "unsubscribe": {"channel": name}})
            c.reply(i + 2)
            all_there = subscribe(c, i + 3, name, recover=True, offset=30 - keeps, epoch=history["epoch"])
            assert all_there["recovered"]
            assert [p["offset"] for p in all_there["publications"]] == list(range(31 - keeps, 31))


def test_a_client_whose_socket_is_cut_comes_back_with_all(room, name):
    async def go():
        ann, ann_sub, heard = await person(room.gateways[0].centrifuge, name)
        bob, bob_sub, _ = await person(room.gateways[-1].centrifuge, name)
        await bob_sub.publish({"n": 0})
        assert (await take(heard.pubs)).data == {"n": 0}
        await take(heard.subscribed)
        ann._conn.transport.abort()
        for n in range(1, 30):
            await bob_sub.publish({"n": n})
        assert [(await take(heard.pubs)).data["n"] for _ in range(29)] == list(range(1, 30))
        again = await take(heard.subscribed)
        assert again.was_recovering and again.recovered
        await ann.disconnect()
        await bob.disconnect()

    asyncio.run(go())


def test_same_id_is_the_same_message(room, name):
    with Json(room.gateway) as c:
        subscribe(c, 2, name)
        for i in range(3):
            c.command({"id": 10 + i, "publish": {"channel": name, "data": {"text": "once", "id": f"{name}-0001"}}})
            assert c.reply(10 + i)["publish"] == {}
        c.command({"id": 20, "history": {"channel": name, "limit": -1}})
        assert [p["data"]["text"] for p in c.reply(20)["history"]["publications"]] == ["once"]


def test_other_data_under_the_same_id_is_another_message(room, name):
    with Json(room.gateway) as c:
        subscribe(c, 2, name)
        for i, text in enumerate(("one", "two")):
            c.command({"id": 10 + i, "publish": {"channel": name, "data": {"text": text, "id": f"{name}-0001"}}})
            assert c.reply(10 + i)["publish"] == {}
        c.command({"id": 20, "history": {"channel": name, "limit": -1}})
        assert [p["data"]["text"] for p in c.reply(20)["history"]["publications"]] == ["one", "two"]


# ---- a gateway that misses publications on the bus ----

# (one process has no bus between gateway and hub that could lose anything: these are for the split)


def test_a_gateway_that_was_frozen_fills_the_gap_in_order():
    """Frozen for long enough to overflow the queue of its subscription: what it then hears has a hole, which the log fills."""
    n = 12000
    pad = "x" * 900
    # What is to be filled must not be let go meanwhile, and a test that reads more slowly than a hub writes is not what is asked.
    config = "rooms: { gap: { history: { count: 20000 } } }\ngateway: { chat_queue_bytes: 64MiB }\n"
    with Room("split", config=config) as r, r.gateways[1].text("gap") as reader, r.gateways[0].text("gap") as writer, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        writer.send("first")
        assert reader.line() == "first"
        assert writer.line() == "first"

        # Each reads from the beginning, as a client does: who does not is slow, and closed.
        def numbers_of(client):
            return pool.submit(lambda: [int(client.line(30).split()[0]) for _ in range(n)])

        frozen = r.processes["gateway1"]
        frozen.pause()
        try:
            heard = [numbers_of(writer)]
            with Bus(r.bus["hub"][0]) as bus:
                for at in range(0, n, 200):
                    items = [hub_pb2.PublishItem(room="gap", kind=1, data=('{"text":"%d %s"}' % (i, pad)).encode())
                             for i in range(at, at + 200)]
                    answer = bus.call("Hub/Publish", hub_pb2.PublishRequest(items=items), hub_pb2.PublishResponse)
                    assert not [x for x in answer.results if x.code]
            heard.append(numbers_of(reader))
        finally:
            frozen.resume()
        for numbers in heard:
            assert numbers.result() == list(range(n))


def test_a_lost_last_message_is_found_by_the_beat():
    """Nothing comes after it that would show the hole; the hub's beat tells the top."""
    with Room("split") as r, Relay(r.bus["hub"][1]) as relay:
        with Room("split", env=r.env, start=False) as other:
            # A gateway that hears the hub's events through a relay which can drop what it carries.
            g = other.gateways[0]
            with Bus(r.bus["hub"][0]) as bus:
                assert bus.describe().lanes
            relay.serve_hub_calls(r.bus["hub"][0])
            p = Process("gateway", ["serve", "gateway", *other.flags(g)], r.env | {"WATCHROOM_BUS_HUB": relay.calls_url},
                        other.dir / "gateway.log")
            other.processes["gateway"] = p
            until(g.healthy, 20)
            with g.text("beat") as reader, r.gateways[0].text("beat") as writer:
                writer.send("one")
                assert reader.line() == "one"
                relay.drop = True
                writer.send("two")
                writer.until("two")
                until(lambda: relay.dropped > 0, what="the relay dropping it")
                relay.drop = False
                assert reader.line(15) == "two"


def test_what_a_hub_stored_and_never_told_is_seen_when_the_next_one_comes():
    """As after a kill between COMMIT and the event: the entry is in the log, nobody heard of it, and nothing follows it."""
    with Room("split") as r, r.gateway.text("untold") as t:
        t.send("one")
        assert t.line() == "one"
        hub = r.processes["hub"]
        hub.kill()
        with contextlib.closing(sqlite3.connect(next(r.data.rglob("room.db")))) as db, db:
            db.execute("INSERT INTO entries(id, kind, time_ms, info, data) SELECT id + 1, kind, time_ms, info, ? FROM entries"
                       " WHERE room = (SELECT id FROM rooms WHERE name = 'untold')", (b'{"text":"two"}',))
            db.execute("UPDATE rooms SET top = top + 1 WHERE name = 'untold'")
        hub.start()
        assert t.line(20) == "two"


class Relay:
    """Two plain TCP relays, for a hub's calls and its events; lanes are told by the hub with host "*" and its own port, so
    the relay's calls port is chosen such that the events port is reached through it: it listens on another loopback address
    (127.0.0.2) at the same ports."""

    def __init__(self, events_url):
        self.drop, self.dropped = False, 0
        self.sockets, self.threads = [], []
        self.events_port = int(events_url.rsplit(":", 1)[1])
        self.listen(self.events_port, True)

    def serve_hub_calls(self, calls_url):
        port = int(calls_url.rsplit(":", 1)[1])
        self.listen(port, False)
        self.calls_url = f"tcp://127.0.0.2:{port}"

    def listen(self, port, events):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.2", port))
        s.listen()
        self.sockets.append(s)
        threading.Thread(target=self.accept, args=(s, port, events), daemon=True).start()

    def accept(self, s, port, events):
        while True:
            try:
                a, _ = s.accept()
            except OSError:
                return
            try:
                b = socket.create_connection(("127.0.0.1", port))
            except OSError:
                a.close()
                continue
            self.sockets += [a, b]
            threading.Thread(target=self.carry, args=(a, b, False), daemon=True).start()
            threading.Thread(target=self.carry, args=(b, a, events), daemon=True).start()

    def carry(self, source, target, events):
        """Bytes; of events, whole messages of the SP framing (8 bytes of length), so that one can be left out."""
        f = source.makefile("rb")
        try:
            if events:
                target.sendall(f.read(8))
            while True:
                if not events:
                    data = source.recv(65536)
                    if not data:
                        break
                    target.sendall(data)
                    continue
                head = f.read(8)
                if len(head) < 8:
                    break
                body = f.read(int.from_bytes(head))
                if self.drop and body.startswith(b"room/"):
                    self.dropped += 1
                else:
                    target.sendall(head + body)
        except OSError:
            pass
        for x in (source, target):
            try:
                x.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()


def test_a_gateway_started_before_the_hub_serves_when_it_comes():
    with Room("split", start=False) as r:
        for name, args in r.plan():
            r.processes[name] = Process(name, args, r.env, r.dir / f"{name}.log", wait_ready=None)
        r.processes["gateway0"].start()
        g = r.gateways[0]
        h = requests.get(f"http://127.0.0.1:{g.health}/healthz", timeout=5 * SLOW)
        assert h.status_code == 503 and "hub" in h.text
        for name in ("hub", "filestore", "ingest", "gateway1"):
            r.processes[name].start()
        r.wait_healthy()
        with g.text("late") as a:
            a.send("works")
            assert a.line() == "works"
