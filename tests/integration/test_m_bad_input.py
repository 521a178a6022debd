# SPDX-License-Identifier: MIT
"""What no well-behaved client sends, answered in the protocol's own words; and those who say nothing."""
import contextlib
import os
import pathlib
import socket
import time

import pytest
import requests
from websockets.exceptions import ConnectionClosed

from harness import SLOW, Room, memory_kb, until
from test_c_centrifuge import Json
from test_h_files import create, head, patch, url_of
from wsraw import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawWebSocket, frame

UPLOAD = b"POST /files/ HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n"
DOORS = ["/ws?room=bad", "/connection/websocket"]


@pytest.fixture(params=DOORS)
def door(request):
    return request.param


def works(gateway):
    with gateway.text("still-here") as t:
        t.send("x")
        assert t.line() == "x"


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"ab\xf4\x90\x80\x80", b"\xe4\xbd"])
def test_invalid_utf8_is_1007(room, door, text):
    with RawWebSocket(room.gateway, door) as w:
        w.send(TEXT, text)
        assert w.close_code() == 1007


def test_invalid_utf8_in_a_later_fragment_is_1007(room, door):
    with RawWebSocket(room.gateway, door) as w:
        w.send(TEXT, b"\xe4\xbd", fin=False)
        w.send(CONT, b"\xff", fin=True)
        assert w.close_code() == 1007


def test_utf8_torn_between_fragments_is_fine(room, name):
    with RawWebSocket(room.gateway, f"/ws?room={name}") as w:
        b = "你好".encode()
        w.send(TEXT, b[:2], fin=False)
        w.send(PING, b"between")
        w.send(CONT, b[2:4], fin=False)
        w.send(CONT, b[4:], fin=True)
        assert w.recv() == (PONG, b"between")
        assert w.recv() == (TEXT, b)


def test_the_hub_tells_the_largest_message(shape):
    """One key, at the hub; gateways learn it from there."""
    with Room(shape, config="hub: { max_message_bytes: 1KiB, store: memory }\n") as r, r.gateway.text("small") as c:
        most = 1024 - len('{"text":""}')
        for n, answer in ((most, "y" * most), (most + 1, "(not sent: too big)"), (1, "y")):
            c.send("y" * n)
            assert c.line() == answer
        c.send("y" * 1025)
        with pytest.raises(ConnectionClosed):
            c.line()
        assert c.ws.close_code == 1009


def test_a_message_over_64_kib_is_1009(room, door):
    with RawWebSocket(room.gateway, door) as w:
        w.send(TEXT, b"x" * 65537)
        assert w.close_code() == 1009


def test_a_line_of_64_kib_is_read_and_told_that_the_log_takes_less(room, name):
    """The socket takes 65,536 bytes; the log takes as many for the line in its JSON."""
    most = 65536 - len('{"text":""}')
    with RawWebSocket(room.gateway, f"/ws?room={name}") as w:
        for n, answer in ((most, b"y" * most), (most + 1, b"(not sent: too big)"), (65536, b"(not sent: too big)"), (1, b"y")):
            w.send(TEXT, b"y" * n)
            assert w.recv() == (TEXT, answer)


def test_a_command_of_64_kib_is_taken(room):
    with RawWebSocket(room.gateway, "/connection/websocket") as w:
        w.send(TEXT, b'{"id":1,"connect":{}}'.ljust(65536))
        op, answer = w.recv()
        assert op == TEXT and b'"id":1' in answer and b"error" not in answer


def test_fragments_over_64_kib_together_are_1009(room, door):
    with RawWebSocket(room.gateway, door) as w:
        w.send(TEXT, b"x" * 40000, fin=False)
        w.send(CONT, b"x" * 40000, fin=True)
        assert w.close_code() == 1009


@pytest.mark.parametrize("length", [1 << 20, 0x7FFF0000, 1 << 40, (1 << 63) - 1])
def test_a_claimed_length_reserves_nothing(room, door, length):
    pid = room.process_of("gateway").pid
    before = memory_kb(pid, "VmSize")
    sockets = [RawWebSocket(room.gateway, door) for _ in range(20)]
    for w in sockets:
        w.sock.sendall(frame(TEXT, b"start", length=length)[:20])
    assert [w.close_code() for w in sockets] == [1009] * 20
    assert memory_kb(pid, "VmSize") - before < 256 * 1024
    for w in sockets:
        w.close()


def test_a_length_with_the_top_bit_is_1002_or_1009(room, door):
    with RawWebSocket(room.gateway, door) as w:
        w.sock.sendall(bytes([0x81, 0xFF]) + b"\xff" * 8 + b"\0\0\0\0")
        assert w.close_code() in (1002, 1009)


@pytest.mark.parametrize("what", ["fragmented ping", "long ping", "unmasked", "rsv", "opcode 3", "opcode 11", "lone continuation",
                                  "text within fragments", "long close", "close of 1 byte", "close code 999", "close code 1005"])
def test_broken_frames_are_1002(room, door, what):
    with RawWebSocket(room.gateway, door) as w:
        {"fragmented ping": lambda: w.send(PING, b"x", fin=False),
         "long ping": lambda: w.send(PING, b"x" * 126),
         "unmasked": lambda: w.send(TEXT, b"hello", mask=False),
         "rsv": lambda: w.send(TEXT, b"hello", rsv=4),
         "opcode 3": lambda: w.send(3, b"x"),
         "opcode 11": lambda: w.send(11, b"x"),
         "lone continuation": lambda: w.send(CONT, b"x"),
         "text within fragments": lambda: (w.send(TEXT, b"a", fin=False), w.send(TEXT, b"b")),
         "long close": lambda: w.send(CLOSE, b"\x03\xe8" + b"x" * 124),
         "close of 1 byte": lambda: w.send(CLOSE, b"\x03"),
         "close code 999": lambda: w.send(CLOSE, b"\x03\xe7"),
         "close code 1005": lambda: w.send(CLOSE, b"\x03\xed")}[what]()
        assert w.close_code() == 1002


def test_binary_where_text_belongs_is_1003_or_taken_as_text(room):
    with RawWebSocket(room.gateway, "/ws?room=bin") as w:
        w.send(BINARY, b"\x00\xff\x01")
        assert w.close_code() in (1003, 1007)


def test_a_flood_of_pings_is_answered_or_ended_and_costs_nobody(room, name):
    with RawWebSocket(room.gateway, f"/ws?room={name}", rcvbuf=4096) as w, room.gateway.text(name) as other:
        try:
            for _ in range(200):
                w.sock.sendall(frame(PING, b"x" * 125) * 100)
        except OSError:
            pass
        other.send("alive")
        assert other.line() == "alive"


def test_half_a_frame_held_open_holds_nobody(room, name):
    """More of them than there are HTTP threads."""
    held = [RawWebSocket(room.gateway, f"/ws?room={name}") for _ in range(200)]
    for w in held:
        w.sock.sendall(frame(TEXT, b"x" * 100)[:9])
    works(room.gateway)
    assert room.gateway.get("/healthz").status_code == 200
    for w in held:
        w.close()


def test_thousands_of_idle_sockets_cost_no_thread(fresh):
    r = fresh(config="gateway: { http_threads: 16 }\n")
    tasks = f"/proc/{r.process_of('gateway').pid}/task"

    def names():
        return sorted(pathlib.Path(tasks, t, "comm").read_text().strip() for t in os.listdir(tasks))

    with contextlib.ExitStack() as held:
        # A few first: what is started once, for the first of them, is there then.
        for _ in range(50):
            held.enter_context(RawWebSocket(r.gateway, "/ws?room=idle"))
        works(r.gateway)
        before = names()
        for _ in range(2000):
            held.enter_context(RawWebSocket(r.gateway, "/ws?room=idle"))
        until(lambda: [x for x in r.gateway.api("rooms") if x["room"] == "idle" and x["members"] == 2050], 20, "all in the room")
        assert names() == before
        works(r.gateway)


def test_half_a_handshake_held_open_is_ended(fresh):
    """As many as there are HTTP threads, saying nothing: they are cut in time, and the health door does not feel them."""
    r = fresh(config="gateway: { http_threads: 16 }\n")
    held = [r.gateway.raw() for _ in range(16)]
    for s in held:
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgr")
    assert r.gateway.healthy()
    began = time.monotonic()
    s = r.gateway.raw()
    s.settimeout(45 * SLOW)
    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert s.recv(100).startswith(b"HTTP/1.1 200"), "the next client is served once the silent ones were cut"
    assert time.monotonic() - began < 40 * SLOW
    for x in [*held, s]:
        x.close()


@pytest.mark.slow
def test_10000_handshakes_that_vanish(room):
    g = room.gateway
    pid = room.process_of("gateway").pid
    before = len(os.listdir(f"/proc/{pid}/fd"))
    rss = memory_kb(pid)
    request = b"GET /ws?room=v HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
              b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    reset = bytes([1, 0, 0, 0, 0, 0, 0, 0])  # linger on, 0 s: RST
    for i in range(10000):
        with socket.create_connection(("127.0.0.1", g.port), timeout=30 * SLOW) as s:
            if i % 4 == 0:
                s.sendall(request[:i % 150])
            elif i % 4 != 1:
                s.sendall(request)
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            if i % 100 == 99 and i % 4 == 3:
                s.recv(12)
    works(g)
    until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 30, 60, "descriptors closed")
    assert memory_kb(pid) - rss < 60 * 1024
    until(lambda: not [x for x in g.api("rooms") if x["room"] == "v" and x["members"]], 30, "members counted out")


@pytest.mark.parametrize("code, request_bytes", [
    (400, b"\x00\x01\x02\x03\r\n\r\n"), (400, b"GET\r\n\r\n"), (505, b"GET / HTTP/9.9\r\n\r\n"),
    (501, b"GARBAGE / HTTP/1.1\r\nHost: localhost\r\n\r\n"), (400, b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header\r\n\r\n"),
    # A head of more than 64 KiB is not read to its end; one of 64 lines or more is.
    (431, b"GET " + b"a" * 70000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\n" + b"".join(b"X-H%d: y\r\n" % i for i in range(8000)) + b"\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"z" * 100000 + b"\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\n" + b"".join(b"X-H%d: y\r\n" % i for i in range(500)) + b"\r\n"),
    (400, b"POST /files/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n"),
    (400, b"POST /files/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    (400, UPLOAD + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nhello"),
    (400, UPLOAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, UPLOAD + b"Transfer-Encoding: gzip\r\n\r\n"),
])
def test_broken_requests_are_refused_and_the_connection_ended(room, code, request_bytes):
    with room.gateway.raw() as s:
        with contextlib.suppress(OSError):  # the answer may come, and the end with it, before all is sent
            s.sendall(request_bytes)
            s.shutdown(socket.SHUT_WR)
        answer = to_the_end(s)
    assert answer.split()[1] == b"%d" % code, answer[:200]
    assert b"\r\nConnection: close\r\n" in answer and answer.count(b"\r\nDate: ") == 1
    works(room.gateway)


def to_the_end(s):
    """All that comes until the server ends the connection; what had come before a reset counts."""
    s.settimeout(20 * SLOW)
    answer = b""
    with contextlib.suppress(ConnectionError):
        while chunk := s.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize("surplus", [b"more of the body\r\n\r\n", b"x" * 1000, b"\0" * 50, b"y" * 50_000],
                         ids=["lines", "no end", "zeros", "long"])
def test_what_follows_a_body_is_no_part_of_it(room, surplus):
    """As much as Content-Length said is kept; the rest stands where the next request begins, and is none."""
    g = room.gateway
    rest = os.urandom(100_000)
    url = url_of(g, create(g, 5 + len(rest)))
    with g.raw() as s:
        s.sendall(f"PATCH {url[len(g.http):]} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
                  f"Content-Type: application/offset+octet-stream\r\nContent-Length: 5\r\n\r\nhello".encode() + surplus)
        first, second = to_the_end(s).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"204 ") and b"\r\nUpload-Offset: 5\r\n" in first
    assert second.startswith((b"400 ", b"408 ")) and b"\r\nConnection: close\r\n" in second
    assert head(url).headers["Upload-Offset"] == "5"
    assert patch(url, 5, rest).status_code == 204
    assert requests.get(url, timeout=10 * SLOW).content == b"hello" + rest


def test_64_headers_do_not_hide_one(room):
    """civetweb keeps 64 headers and drops the rest in silence: a request with as many is refused."""
    for n, status in ((62, b"200"), (63, b"431"), (70, b"431")):
        with room.gateway.raw() as s:
            s.sendall(b"GET /api/v1/rooms HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(n)) + b"\r\n")
            assert s.recv(100).split()[1] == status, n


def test_a_reader_that_is_too_slow_is_closed_with_3008_and_nobody_waits(fresh):
    r = fresh()
    with RawWebSocket(r.gateway, "/connection/websocket", rcvbuf=4096) as slow, r.gateway.text("flood") as quick:
        slow.send(TEXT, b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"flood"}}')
        while b'"id":2' not in slow.recv()[1]:
            pass
        line = "z" * 60000
        worst = 0.0
        for i in range(300):
            began = time.monotonic()
            quick.send(f"{i} {line}")
            assert quick.line(20).startswith(f"{i} ")
            worst = max(worst, time.monotonic() - began)
            # It is closed now: the frame that says so waits behind what the kernel holds, for five seconds.
            if r.gateway.metrics().get("watchroom_plane_slow_total"):
                break
        assert slow.close_code() == 3008
        assert worst < 2 * SLOW, f"somebody else waited {worst:.2f} s"


def test_a_client_that_never_connects_is_closed_with_3502(fresh):
    r = fresh()
    with RawWebSocket(r.gateway, "/connection/websocket") as w:
        w.sock.settimeout(30 * SLOW)
        assert w.close_code() == 3502


def test_thousands_of_subscriptions_are_refused_by_106(room):
    with Json(room.gateway) as c:
        c.command(*[{"id": i, "subscribe": {"channel": f"many{i}"}} for i in range(2, 202)])
        codes = [c.reply(i).get("error", {}).get("code") for i in range(2, 202)]
        assert codes[:120] == [None] * 120 and codes[-1] == 106


def test_silence_is_pinged_as_the_configuration_says_and_who_does_not_answer_goes(fresh):
    r = fresh(config="gateway: { ping_ms: 200, pong_ms: 400 }\n")
    with RawWebSocket(r.gateway, "/ws") as w:
        for _ in range(2):
            op, payload = w.recv()
            assert op == PING
            w.send(PONG, payload)
        while True:  # and now nothing: the end comes, with or without a close frame
            try:
                op, _ = w.recv()
            except (EOFError, ConnectionError):
                break
            assert op in (PING, CLOSE)
