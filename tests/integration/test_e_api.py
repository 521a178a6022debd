# SPDX-License-Identifier: MIT
"""Pages, API, health, metrics; and what HTTP says to what is not there."""
import re

import pytest
import requests

from harness import SLOW, until
from test_c_centrifuge import Json


def test_rooms_are_listed_with_members_and_position(room, name):
    with Json(room.gateway) as c, room.gateways[-1].text(name) as t:
        c.command({"id": 2, "subscribe": {"channel": name}})
        c.reply(2)
        t.send("hello")
        t.line()
        for g in room.gateways:
            x = until(lambda g=g: [x for x in g.api("rooms") if x["room"] == name and x["members"] == 2])[0]
            assert x["offset"] == 1 and len(x["epoch"]) == 8 and x["stream"] == "" and x["last_time"] > 1.6e12


def test_the_configured_room_is_listed_though_empty(room):
    demo = [x for x in room.gateway.api("rooms") if x["room"] == "demo"]
    assert demo and demo[0]["stream"] == "demo"


def test_streams_are_listed(room):
    demo = [x for x in room.gateway.api("streams") if x["stream"] == "demo"]
    assert demo and demo[0]["state"] in ("idle", "starting", "live")
    assert set(demo[0]) >= {"stream", "state", "reason", "viewers", "width", "height", "fps", "video", "audio"}


def test_services_are_listed_as_up(room, shape):
    def up():
        services = {x["service"]: x for x in room.gateway.api("services")}
        return services if {"hub", "ingest", "filestore"} <= {n for n, x in services.items() if x["state"] == "up"} else None

    services = until(up)
    hub = services["hub"]
    assert hub["instance"].startswith("hub-") and re.match(r"\d+\.\d+", hub["version"]) and "sqlite" in hub["plugins"]
    assert hub["uptime_s"] >= 0 and hub["load"] >= 0
    assert hub["address"].startswith("inproc://" if shape == "all" else "tcp://127.0.0.1:")


def test_health_and_metrics_on_both_doors(room):
    for g in room.gateways:
        for port in (g.port, g.health):
            # A gateway is ready with its hub; until the other services are found, it says that it lacks them.
            until(lambda port=port: requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10 * SLOW).text.strip() == "ok",
                  what="a gateway that lacks nothing")
            assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10 * SLOW).status_code == 200
            r = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10 * SLOW)
            assert r.status_code == 200 and r.headers["Content-Type"].startswith("text/plain")
            seen = set()
            for line in r.text.splitlines():
                assert re.match(r"(# (HELP|TYPE) \w+ .+|[a-zA-Z_:][\w:]*(\{[^}]*\})? [-+0-9.eEinfNa]+)$", line), line
                if not line.startswith("#"):
                    key = line.rsplit(" ", 1)[0]
                    assert key not in seen, f"{key} is there twice"
                    seen.add(key)
            assert "watchroom_gateway_outbox_full_total" in seen, "a counter is there before it counts"


def test_the_health_door_tells_rooms_and_services_and_nothing_else(room):
    door = f"http://127.0.0.1:{room.gateway.health}"
    for what in ("rooms", "services"):
        r = requests.get(f"{door}/api/v1/{what}", timeout=10 * SLOW)
        assert r.status_code == 200 and set(r.json()[what][0]) == set(room.gateway.api(what)[0])
        r = requests.post(f"{door}/api/v1/{what}", timeout=10 * SLOW)
        assert r.status_code == 405 and "GET" in r.headers["Allow"]
    for path in ("/", "/ws", "/api/v1/streams", "/files/", "/live/demo.mp4"):
        assert requests.get(door + path, timeout=10 * SLOW).status_code == 404, path


def error_of(r):
    e = r.json()["error"]
    assert isinstance(e["message"], str) and e["message"] and "code" in e
    return e


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api", "/ws/", "/wsx", "/connection", "/live/", "/live/demo",
                                  "/live/demo.avi", "/files/nothing", "/files/00000000000000000000000000", "/assets/",
                                  "/assets/nothing.js", "/api/v1/rooms/x"])
def test_an_unknown_path_is_404(room, path):
    r = room.gateway.get(path)
    assert r.status_code == 404, r.text
    if path.startswith(("/api", "/live", "/files")):
        error_of(r)


HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
             "Sec-WebSocket-Version": "13"}


@pytest.mark.parametrize("method, path, allow", [
    ("POST", "/api/v1/rooms", {"GET"}), ("DELETE", "/api/v1/streams", {"GET"}), ("PUT", "/", {"GET"}),
    ("POST", "/healthz", {"GET"}), ("POST", "/metrics", {"GET"}), ("POST", "/live/demo.mp4", {"GET"}),
    ("DELETE", "/ws", {"GET"}), ("POST", "/ws", {"GET"}), ("PUT", "/files/", {"OPTIONS", "POST"}), ("PUT", "/files/abc", {"GET", "HEAD", "PATCH", "DELETE"}),
    ("POST", "/connection/websocket", {"GET"}),
])
@pytest.mark.parametrize("headers", [{}, HANDSHAKE], ids=["plain", "handshake"])
def test_a_method_that_is_not_offered_is_405_with_allow(room, method, path, allow, headers):
    r = requests.request(method, room.gateway.http + path, headers=headers, timeout=10 * SLOW)
    assert r.status_code == 405, (r.status_code, r.text)
    assert allow <= {m.strip() for m in r.headers["Allow"].split(",")}


@pytest.mark.parametrize("path", ["/ws", "/ws?room=a", "/connection/websocket"])
def test_a_plain_request_on_a_websocket_is_426(room, path):
    r = room.gateway.get(path)
    assert r.status_code == 426 and r.headers["Upgrade"].lower() == "websocket"


@pytest.mark.parametrize("version", ["", "Sec-WebSocket-Version: 12\r\n", "Sec-WebSocket-Version: abc\r\n"])
def test_a_handshake_of_another_version_is_told_ours(room, version):
    with room.gateway.raw() as s:
        s.sendall(f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{version}\r\n".encode())
        status = s.makefile("rb").readline()
        assert status.split()[1] == b"426", status


def test_the_page_comes_with_its_guards(room):
    r = room.gateway.get("/")
    assert r.status_code == 200, "scripts/page builds the page"
    assert r.headers["Content-Type"].startswith("text/html")
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Security-Policy" in r.headers
    assert room.gateway.get("/room/demo").status_code == 200
    assert requests.head(room.gateway.http + "/", timeout=10 * SLOW).status_code == 200
    asset = re.search(r'/assets/[^"]+\.js', r.text).group(0)
    r = room.gateway.get(asset)
    assert r.status_code == 200 and "javascript" in r.headers["Content-Type"] and "immutable" in r.headers["Cache-Control"]
    assert room.gateway.get(asset, headers={"If-None-Match": r.headers["ETag"]}).status_code == 304
