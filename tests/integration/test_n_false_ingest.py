# SPDX-License-Identifier: MIT
"""An ingest that lies: a gateway takes what it says as it takes anything from outside."""
import contextlib
import random
import threading

from busclient import Bus, bus_pb2, ingest_pb2
from harness import Room, until
from test_f_live import watch
from test_n_bus import listens, pictures


class FalseIngest:
    """Answers on the real one's address and publishes on a port of its own: well-formed lies, and noise."""

    def __init__(self, calls, event_port, truth):
        self.calls, self.event_port, self.truth = calls, event_port, truth
        self.rng, self.seq, self.watched, self.sent = random.Random(7), 0, 0, 0
        self.over = threading.Event()
        self.up = threading.Event()
        self.threads = [threading.Thread(target=f) for f in (self.answer, self.film)]

    def frame(self):
        rng = self.rng
        self.seq += rng.choice([0, 1, 1, 1, 1, 2])
        number = lambda: rng.choice([0, self.seq * 3600, rng.getrandbits(62), -rng.getrandbits(62)])
        size = rng.choice([0, 3, 100, 5000, 300_000])
        data = rng.choice([(max(size - 4, 0)).to_bytes(4, "big"), b"\xff\xff\xff\xff", b""]) + rng.randbytes(size)
        return ingest_pb2.MediaFrame(stream="demo", epoch=self.truth.epoch, track=rng.choice([1, 1, 2, 77]),
                                     seq=rng.choice([self.seq] * 9 + [rng.getrandbits(64)]), key=rng.random() < 0.3, dts=number(), pts=number(),
                                     duration=rng.getrandbits(32), arrival_us=number(), data=data)

    def info(self):
        info = ingest_pb2.StreamInfo()
        info.CopyFrom(self.truth)
        info.event_url = f"tcp://*:{self.event_port}"
        lie = self.rng.randrange(6)
        if lie == 0:
            info.tracks[0].config = self.rng.randbytes(self.rng.randrange(60))
        elif lie == 1:
            info.tracks[0].timescale = self.rng.choice([0, 1, 0xFFFFFFFF])
        elif lie == 2:
            info.epoch = self.rng.getrandbits(64)
        elif lie == 3:
            info.tracks.add(track=1, codec=2, sample_rate=0xFFFFFFFF, channels=0xFFFFFFFF)
        return info

    def body(self, method):
        if method.endswith("Describe"):
            from watchroom.v1 import node_pb2
            return node_pb2.NodeInfo(service="ingest", instance="ingest-false", version="x").SerializeToString()
        if self.rng.random() < 0.2:
            return self.rng.randbytes(self.rng.randrange(300))
        if method.endswith("Streams"):
            return ingest_pb2.StreamsResponse(streams=[self.info()]).SerializeToString()
        if method.endswith("/Watch"):
            self.watched += 1
            return ingest_pb2.WatchResponse(info=self.info(), group=[self.frame() for _ in range(self.rng.randrange(5))]
                                            ).SerializeToString()
        return b""

    def answer(self):
        import pynng
        with pynng.Rep0(recv_timeout=200, send_timeout=2000) as rep:
            until(lambda: listens(rep, self.calls), 10)
            self.up.set()
            while not self.over.is_set():
                with contextlib.suppress(pynng.Timeout):
                    call = bus_pb2.Call.FromString(rep.recv())
                    rep.send(bus_pb2.Answer(body=self.body(call.method)).SerializeToString())

    def film(self):
        import pynng
        with pynng.Pub0(listen=f"tcp://127.0.0.1:{self.event_port}") as pub:
            while not self.over.wait(0.004):
                e = bus_pb2.Event(instance="ingest-false", time_ms=self.rng.getrandbits(62), media=self.frame())
                pub.send(b"media/demo\0" + (e.SerializeToString() if self.rng.random() < 0.9 else self.rng.randbytes(99)))
                self.sent += 1

    def __enter__(self):
        for t in self.threads:
            t.start()
        assert self.up.wait(20)
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join()


def glance(gateway):
    """Looks at the stream as long as something comes, at most some pictures; what it gets is the liar's."""
    with contextlib.suppress(OSError):
        s = gateway.raw()
        s.settimeout(0.3)
        with s:
            s.sendall(b"GET /live/demo.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for _ in range(8):
                if not s.recv(65536):
                    break


def test_an_ingest_that_lies_does_not_hurt_a_gateway():
    with Room("split") as r:
        with watch(r.gateways[0]) as v, Bus(r.bus["ingest"][0]) as bus:
            pictures(v, 5)
            truth = bus.call("Ingest/Streams", ingest_pb2.StreamsRequest(), ingest_pb2.StreamsResponse).streams[0]
        assert truth.tracks and truth.epoch
        gateways = [p for name, p in r.processes.items() if name.startswith("gateway")]
        pids = [p.pid for p in gateways]
        assert len(pids) == 2
        r.processes["ingest"].kill()
        with FalseIngest(r.bus["ingest"][0], r.base + 30, truth) as liar:
            for _ in range(20):
                for g in r.gateways:
                    glance(g)
            until(lambda: liar.watched > 20 and liar.sent > 200, 30, "the liar being listened to")
        r.processes["ingest"].start()
        r.wait_healthy(40)
        for g in r.gateways:
            with watch(g) as v:
                pictures(v)
            assert g.metrics()["watchroom_bus_sockets_abandoned_total"] == 0
        assert [p.pid for p in gateways] == pids and all(p.alive() for p in gateways)
