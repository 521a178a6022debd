# SPDX-License-Identifier: MIT
"""Two hubs, each with a log of its own in memory: rooms are split between them, one dies with load on and comes back."""
import itertools
import json

from busclient import Bus, CallFailed, hub_pb2
from harness import SANITIZER, Process, Room, until
from test_c_centrifuge import Json
from test_s_kill import Talk

ROUNDS = 1 if SANITIZER else 3


class Member(Json):
    """In these rooms."""

    def __init__(self, gateway, *rooms):
        super().__init__(gateway)
        for i, name in enumerate(rooms):
            self.command({"id": 10 + i, "subscribe": {"channel": name}})
            assert "subscribe" in self.reply(10 + i)


class TwoHubs(Room):
    """hub0 and hub1, two gateways; nothing else is needed."""

    def __init__(self, **kw):
        self.hubs = []
        super().__init__("split", config="hub:\n  store: memory\n", **kw)

    def plan(self):
        urls = [f"tcp://127.0.0.1:{self.base + 30 + 2 * i}" for i in range(2)]
        events = [f"tcp://127.0.0.1:{self.base + 31 + 2 * i}" for i in range(2)]
        self.hubs = urls
        self.env["WATCHROOM_BUS_HUB"] = ",".join(urls)
        for i in range(2):
            yield f"hub{i}", ["serve", "hub", "--config", self.config, "--data", self.dir / f"data{i}"]
        yield from [(name, args) for name, args in super().plan() if name != "hub"]
        self.each = {f"hub{i}": {"WATCHROOM_BUS_HUB_LISTEN": urls[i], "WATCHROOM_BUS_HUB_EVENTS": events[i]} for i in range(2)}

    def start(self):
        list(self.plan())  # for self.each
        started = []
        for name, args in self.plan():
            p = Process(name, args, self.env | self.each.get(name, {}), self.dir / f"{name}.log", wait_ready=None)
            self.processes[name] = p
            p.start(wait_ready=False)
            started.append(p)
        for p in started:
            p.wait_ready()
        self.wait_healthy()
        self.see(2)
        return self

    def see(self, n):
        until(lambda: all(g.metrics()["watchroom_gateway_hubs_up"] == n for g in self.gateways), what=f"{n} hubs up everywhere")

    def members(self, i, name):
        with Bus(self.hubs[i]) as bus:
            return bus.call("Hub/Tops", hub_pb2.TopsRequest(rooms=[name]), hub_pb2.TopsResponse).tops[0].num_clients

    def log(self, i, name):
        with Bus(self.hubs[i]) as bus:
            try:
                return [json.loads(p.data) for p in bus.history(name)]
            except CallFailed:
                return []

    def room_at(self, i):
        """A name whose room is at hub i: found by going there, as a member is told at one hub only."""
        for n in itertools.count():
            name = f"at{i}-{n}"
            with Member(self.gateway, name):
                until(lambda: self.members(0, name) + self.members(1, name) == 1, what="presence")
                if self.members(i, name) == 1:
                    return name


def test_rooms_are_split_and_what_is_asked_of_one_is_asked_of_its_hub():
    with TwoHubs() as r:
        names = [f"split-{n}" for n in range(24)]
        with Member(r.gateways[0], *names) as ann, Member(r.gateways[1], *names) as bob:
            for i, name in enumerate(names):
                ann.command({"id": 1000 + i, "publish": {"channel": name, "data": {"text": name}}})
                assert "publish" in ann.reply(1000 + i)
            for i, name in enumerate(names):
                bob.command({"id": 2000 + i, "history": {"channel": name, "limit": 10}})
                assert [p["data"]["text"] for p in bob.reply(2000 + i)["history"]["publications"]] == [name]
                bob.command({"id": 3000 + i, "presence_stats": {"channel": name}})
                assert bob.reply(3000 + i)["presence_stats"]["num_clients"] in (1, 2)  # the other gateway may be told a moment later
            until(lambda: all(r.members(0, n) + r.members(1, n) == 2 for n in names), what="presence of both gateways")
            at0 = [n for n in names if r.members(0, n) == 2]
            at1 = [n for n in names if r.members(1, n) == 2]
            assert sorted(at0 + at1) == sorted(names) and len(at0) > 4 and len(at1) > 4
            assert all(len(r.log(0, n)) == 1 and not r.log(1, n) for n in at0)
            assert all(len(r.log(1, n)) == 1 and not r.log(0, n) for n in at1)
            listed = {x["room"]: x for x in r.gateways[1].api("rooms")}
            assert all(listed[n]["members"] == 2 and listed[n]["offset"] == 1 for n in names)


def runs(person):
    """What a person saw, by the log that it is of: [(epoch, [(offset, id)])]."""
    for epoch, seen in itertools.groupby(zip(person["epochs"], person["seen"]), key=lambda x: x[0]):
        yield epoch, [s for _, s in seen]


def judge(person):
    logs = {}
    for epoch, seen in runs(person):
        offsets = [o for o, _ in seen]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), f"holes, doubles or another order in {epoch}"
        logs.setdefault(epoch, []).extend(seen)
    for epoch, seen in logs.items():  # back at the hub that lived its log goes on
        assert all(a < b for (a, _), (b, _) in itertools.pairwise(seen)), f"told again, or out of order, in {epoch}"
        ids = [i for _, i in seen]
        assert len(set(ids)) == len(ids), f"a message twice in {epoch}"
    return logs


def test_a_hub_dies_and_comes_back_and_the_other_hubs_rooms_do_not_notice():
    with TwoHubs() as r:
        here, there = r.room_at(0), r.room_at(1)
        moving, staying = Talk(here, 6, r.gateways), Talk(there, 6, r.gateways)
        moving.everybody_goes_on()
        staying.everybody_goes_on()
        for _ in range(ROUNDS):
            r.processes["hub0"].kill()
            r.see(1)
            moving.everybody_goes_on()  # at the other hub
            staying.everybody_goes_on()
            until(lambda: r.members(1, here) == 6 and r.members(1, there) == 6, what="presence at the hub that is left")
            r.processes["hub0"].start()
            r.see(2)
            moving.everybody_goes_on()  # back again
            staying.everybody_goes_on()
            until(lambda: r.members(0, here) == 6 and r.members(1, here) == 0, what="presence back at its hub")
            assert r.members(1, there) == 6 and r.members(0, there) == 0
        moved, stayed = moving.stop(), staying.stop()
        log = {m["id"] for m in r.log(1, there)}
        for p in stayed:  # one log, nothing missing, nothing told twice
            assert len(judge(p)) == 1 and p["notRecovered"] == 0 and p["retries"] == 0
            assert set(p["acked"]) <= log
        for p in moved:  # another log at each move, and told so
            assert 2 <= len(judge(p)) <= ROUNDS + 2 and p["notRecovered"] >= 1
