# SPDX-License-Identifier: MIT
"""The plane in front: strangers who hold connections, heads as nobody should send them, and whose pages may come in."""
import contextlib
import os
import resource
import socket
import time

import pytest

from harness import SLOW, until
from wsraw import TEXT, RawWebSocket, frame, request


@contextlib.contextmanager
def raw(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15 * SLOW) as s:
        yield s


def to_the_end(s):
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := s.recv(65536):
            got += chunk
    return got


def ask(gateway, text):
    """What comes back until the server ends the connection."""
    with raw(gateway) as s:
        s.sendall(text)
        return to_the_end(s)


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def get(path, *lines, version="1.1", host="Host: localhost"):
    return "\r\n".join([f"GET {path} HTTP/{version}", *([host] if host else []), *lines, "Connection: close", "", ""]).encode()


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_silent_connections_and_half_heads_keep_nobody_waiting(room):
    g = room.gateway
    with contextlib.ExitStack() as held:
        for i in range(730):
            s = held.enter_context(raw(g))
            if i >= 600:
                s.sendall(b"GET / HTTP/1.1\r\nHost: local")
        begin = time.monotonic()
        assert g.get("/api/v1/rooms").status_code == 200
        with g.text("newcomer") as t:
            t.send("here")
            assert t.line() == "here"
        assert time.monotonic() - begin < 2 * SLOW


def test_a_frame_right_behind_the_handshake_arrives(room, name):
    g = room.gateway
    with g.text(name) as reader, raw(g) as s:
        s.sendall(request(f"/ws?room={name}", g.port) + frame(TEXT, b"at once"))
        assert reader.line() == "at once"


def test_slow_heads_are_cut_at_their_deadline(room):
    with raw(room.gateway) as s:
        begin = time.monotonic()
        s.settimeout(0.5)
        answer = b""
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for i in range(60):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(b"X-%d: y\r\n" % i)
            with contextlib.suppress(TimeoutError):
                answer += s.recv(4096)
                break
        assert status(answer) == 408
        assert 8 < time.monotonic() - begin < 20 * SLOW


def test_answers_keep_the_order_of_pipelined_requests(room):
    paths = ["/api/v1/rooms", "/nothing-1", "/api/v1/streams", "/nothing-2"]
    text = b"".join(f"GET {p} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for p in paths) + get("/nothing-3")
    answer = ask(room.gateway, text)
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 404, 200, 404, 404]
    order = [answer.index(w) for w in (b'"rooms"', b"nothing-1", b'"streams"', b"nothing-2", b"nothing-3")]
    assert order == sorted(order)


def test_a_half_closed_client_gets_its_whole_answer(room):
    with raw(room.gateway) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        s.shutdown(socket.SHUT_WR)
        head, body = to_the_end(s).split(b"\r\n\r\n", 1)
    assert len(body) == int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) > 1000


GOOD = {
    "trailing blanks": get("/api/v1/rooms", "X-A: b \t ", "Accept: */* \t"),
    "17 KB of cookies": get("/api/v1/rooms", "Cookie: " + "; ".join(f"k{i}={'v' * 90}" for i in range(180))),
    "absolute form": get("http://localhost/api/v1/rooms"),
    "HTTP/1.0 without Host": get("/api/v1/rooms", version="1.0", host=None),
    "an empty line first": b"\r\n" + get("/api/v1/rooms"),
    "lengths that agree": get("/api/v1/rooms", "Content-Length: 0, 0", "Content-Length: 0"),
}


@pytest.mark.parametrize("what", GOOD)
def test_taken(room, what):
    assert status(ask(room.gateway, GOOD[what])) == 200


def test_options_of_the_server(room):
    answer = ask(room.gateway, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status(answer) == 204 and b"\r\nAllow: GET, " in answer


REFUSED = {
    "no Host": (get("/", host=None), 400),
    "two Hosts": (get("/", "Host: localhost"), 400),
    "a Host with user information": (get("/", host="Host: a@localhost"), 400),
    "folded": (get("/", "X-A: b", " c"), 400),
    "a blank before the colon": (get("/", "X-A : b"), 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "bare CR": (get("/", "X-A: b\rX-B: c"), 400),
    "NUL": (get("/", "X-A: b\0c"), 400),
    "* for GET": (get("*"), 400),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "an unknown method": (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "HTTP/2.0": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "70 KB of head": (get("/", "X-A: " + "a" * 70000), 431),
    "both lengths": (get("/", "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
    "two lengths": (get("/", "Content-Length: 5", "Content-Length: 6"), 400),
    "a signed length": (get("/", "Content-Length: +5"), 400),
    "coding, obfuscated": (get("/", "Transfer-Encoding: xchunked"), 400),
    "coding, twice": (get("/", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400),
    "coding, tab": (get("/", "Transfer-Encoding:\tchunked\x0b"), 400),
    "coding of HTTP/1.0": (get("/", "Transfer-Encoding: chunked", version="1.0"), 400),
    "another expectation": (get("/", "Expect: the-moon"), 417),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(room, what):
    text, want = REFUSED[what]
    # What stands behind it must not become a request.
    answer = ask(room.gateway, text + get("/api/v1/rooms"))
    assert status(answer) == want and answer.count(b"\r\nDate: ") == 1


def test_an_upload_with_extensions_and_trailers(room):
    g = room.gateway
    made = g.request("POST", "/files/", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "10"})
    path = "/files/" + made.headers["Location"].rsplit("/", 1)[1]
    answer = ask(g, f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
                    "Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                    '4;name="v";x\r\nabcd\r\n6\r\nefghij\r\n0\r\nX-Sum: 1\r\n\r\n'.encode())
    assert status(answer) == 204 and b"Upload-Offset: 10\r\n" in answer
    assert g.get(path).content == b"abcdefghij"


def test_an_internal_header_of_a_client_means_nothing(room):
    assert status(ask(room.gateway, get("/api/v1/rooms", "X-Watchroom-Ask: " + "0" * 40))) == 200


def internal_ports(room):
    """Addresses of 127.0.0.0/8 but 127.0.0.1 that the process listens on."""
    pid = room.process_of("gateway").pid
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
            if link.startswith("socket:["):
                inodes.add(link[8:-1])
    for line in open("/proc/net/tcp", encoding="ascii").read().splitlines()[1:]:
        fields = line.split()
        address, port = fields[1].split(":")
        ip = socket.inet_ntoa(bytes.fromhex(address)[::-1])
        if fields[3] == "0A" and fields[9] in inodes and ip.startswith("127.") and ip != "127.0.0.1":
            yield ip, int(port, 16)


def test_the_internal_port_talks_to_nobody(room):
    ports = list(internal_ports(room))
    assert ports
    for address in ports:
        with socket.create_connection(address, timeout=15) as s:
            with contextlib.suppress(OSError):
                s.sendall(get("/api/v1/rooms", "X-Watchroom-Ask: " + "0" * 40))
            assert to_the_end(s) == b""
    assert room.gateway.get("/api/v1/rooms").status_code == 200


# ---- whose pages ----

FOREIGN = "https://evil.example"


@pytest.mark.parametrize("path", ["/api/v1/rooms", "/ws", "/live/demo.flv", "/files/"])
def test_pages_of_others_are_refused_and_told_how_they_are_allowed(room, path):
    g = room.gateway
    r = g.get(path, headers={"Origin": FOREIGN})
    assert r.status_code == 403 and "gateway.origins" in r.json()["error"]["message"]
    assert "Access-Control-Allow-Origin" not in r.headers
    assert g.get("/api/v1/rooms", headers={"Origin": g.http}).status_code == 200
    assert g.get("/api/v1/rooms", headers={"Origin": "null"}).status_code == 403


def test_a_handshake_of_a_foreign_page_is_refused(room):
    g = room.gateway
    answer = ask(g, request("/ws", g.port, [f"Origin: {FOREIGN}"]))
    assert status(answer) == 403
    RawWebSocket(g, "/ws", [f"Origin: {g.http}"]).sock.close()


@pytest.mark.parametrize("host, want", [("rebound.example", 403), ("rebound.example:80", 403), ("127.0.0.1", 200),
                                        ("[::1]:8000", 200), ("localhost.", 200), ("a.localhost", 200)])
def test_names_that_are_not_ours(room, host, want):
    answer = ask(room.gateway, get("/api/v1/rooms", host=f"Host: {host}"))
    assert status(answer) == want
    assert want == 200 or b"gateway.hosts" in answer


def test_origins_and_hosts_of_the_configuration(fresh):
    r = fresh(config=f'gateway: {{ origins: [{FOREIGN}], hosts: [rooms.example, "*.lan"] }}\n')
    g = r.gateway
    a = g.get("/api/v1/rooms", headers={"Origin": FOREIGN})
    assert a.status_code == 200 and a.headers["Access-Control-Allow-Origin"] == FOREIGN and "Origin" in a.headers["Vary"]
    a = g.request("OPTIONS", "/api/v1/rooms", headers={"Origin": FOREIGN, "Access-Control-Request-Method": "GET"})
    assert a.status_code == 204 and "GET" in a.headers["Access-Control-Allow-Methods"]
    assert g.get("/api/v1/rooms", headers={"Origin": "https://other.example"}).status_code == 403
    for host, want in [("rooms.example", 200), ("tv.lan", 200), ("lan", 403), ("x.rooms.example", 403)]:
        assert status(ask(g, get("/api/v1/rooms", host=f"Host: {host}"))) == want


def test_a_proxy_that_is_trusted_says_what_the_client_sees(fresh):
    r = fresh(config="gateway: { trusted_proxies: [127.0.0.1] }\n")
    seen = {"X-Forwarded-Host": "rooms.example", "X-Forwarded-Proto": "https"}
    assert r.gateway.get("/api/v1/rooms", headers={"Origin": "https://rooms.example", **seen}).status_code == 200
    assert r.gateway.get("/api/v1/rooms", headers={"Origin": "http://rooms.example", **seen}).status_code == 403


# ---- limits ----

def test_an_address_has_its_share(fresh):
    r = fresh(config="gateway: { connections_per_address: 5 }\n")
    g = r.gateway
    with contextlib.ExitStack() as held:
        for _ in range(5):
            held.enter_context(raw(g))
        until(lambda: g.metrics()["watchroom_plane_connections"] >= 5)
        assert status(ask(g, get("/api/v1/rooms"))) == 503
        assert g.healthy()
    until(lambda: status(ask(g, get("/api/v1/rooms"))) == 200)


def test_without_descriptors_it_says_so_once_and_recovers(fresh):
    r = fresh()
    p, g = r.process_of("gateway"), r.gateway
    used = len(os.listdir(f"/proc/{p.pid}/fd"))
    hard = resource.prlimit(p.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(p.pid, resource.RLIMIT_NOFILE, (used + 60, hard))
    with contextlib.ExitStack() as held:
        for _ in range(150):
            held.enter_context(raw(g))
        until(lambda: "plane.descriptors" in p.text())
        assert status(ask(g, get("/api/v1/rooms"))) == 503
        before, begin = cpu_s(p.pid), time.monotonic()
        with raw(g) as s:  # answered, and meanwhile no core is busy
            until(lambda: time.monotonic() - begin > 2)
            assert status(to_the_end(s)) in (503, 0)
        assert cpu_s(p.pid) - before < 0.5 * (time.monotonic() - begin)
    until(lambda: status(ask(g, get("/api/v1/rooms"))) == 200)
    assert p.text().count("plane.descriptors") == 1
