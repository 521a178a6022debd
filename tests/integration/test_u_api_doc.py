# SPDX-License-Identifier: MIT
"""The examples of docs/api.md against a running server, in their order: each request is made, and its answer has the status, the header
lines, and the keys and types that stand there. What a page says and a server does not do fails here.

A block ```http is a request, a line `HTTP/1.1 <status>`, and what the answer has at least. A block ```ws is a path, and lines: `> `
is sent, `< ` comes (others may come between). A value is an example, its type is not; a file's address is followed: what the
server answered as Location takes the place of the one in the text.
"""
import json
import re
import time

import pytest
from websockets.sync.client import connect

from harness import ROOT, SLOW, until

TEXT = (ROOT / "docs" / "api.md").read_text()
CLIENT = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
BLOCKS = re.findall(r"^```(http|ws)\n(.*?)^```", TEXT, re.S | re.M)


def as_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def lacks(want, got, at="$"):
    """Where `got` is not shaped as `want`, or None. A list needs one that fits each example in it."""
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return f"{at}: an object, and not {got!r}"
        # A connection's id as a key is an example too.
        want, got = ({CLIENT.sub("a client's id", key): value for key, value in x.items()} for x in (want, got))
        if want.keys() != got.keys():
            return f"{at}: {sorted(want)}, and not {sorted(got)}"
        return next((why for key in want if (why := lacks(want[key], got[key], f"{at}.{key}"))), None)
    if isinstance(want, list):
        if not isinstance(got, list):
            return f"{at}: a list, and not {got!r}"
        for example in want:
            whys = [lacks(example, x, f"{at}[]") for x in got]
            if not whys or all(whys):
                return whys[0] if whys else f"{at}: nothing is in it"
        return None
    if isinstance(want, bool) or want is None or isinstance(got, bool):
        return None if type(want) is type(got) else f"{at}: {want!r}, and not {got!r}"
    kinds = (int, float) if isinstance(want, (int, float)) else type(want)
    return None if isinstance(got, kinds) else f"{at}: {want!r}, and not {got!r}"


def split(block):
    """(method, path, headers, body, status, headers of the answer, its body)"""
    asked, status, answered = re.fullmatch(r"(.*?)^HTTP/1\.1 (\d+)[^\n]*\n(.*)", block, re.S | re.M).groups()

    def head_and_body(text):
        head, _, body = ("\n" + text).partition("\n\n")
        return dict(line.split(": ", 1) for line in head.split("\n") if line), body.removesuffix("\n")

    first, _, rest = asked.partition("\n")
    method, path = first.split(" ")
    return (method, path, *head_and_body(rest), int(status), *head_and_body(answered))


def check_http(room, block, places):
    method, path, headers, body, status, want_headers, want_body = split(block)
    for there, here in places.items():
        path = path.replace(there, here)
    headers.setdefault("Host", f"127.0.0.1:{room.gateway.port}")

    def ask():
        # Long answers (a live picture) are looked into, not waited for.
        with room.gateway.request(method, path, headers=headers, data=body.encode() or None, stream=True) as r:
            live = "Content-Length" not in r.headers and r.status_code != 204 and method != "HEAD"
            return r.status_code, r.headers, next(r.iter_content(4096)).decode("latin-1") if live else r.text

    got_status, got_headers, got_body = until(lambda: (a := ask())[0] != 503 and a, what=f"{method} {path}")
    assert got_status == status, f"{method} {path}: {got_status} {got_body}"
    for key, value in want_headers.items():
        assert key in got_headers, f"{method} {path}: no {key} in {dict(got_headers)}"
        if key == "Location":
            places[value] = got_headers[key]
        elif key in ("Content-Type", "Upload-Offset", "Upload-Length", "Content-Range", "Allow", "Tus-Extension", "Content-Disposition"):
            assert got_headers[key] == value, f"{method} {path}: {key}"
    want = as_json(want_body)
    if isinstance(want, dict):
        why = lacks(want, as_json(got_body))
        assert not why, f"{method} {path}: {why}"
    elif want_body:
        assert got_body.startswith(want_body), f"{method} {path}: {got_body[:200]!r}"
    return got_status


def check_ws(room, block):
    first, *lines = block.splitlines()
    came = []
    with connect(room.gateway.ws + first.split(" ")[1], open_timeout=10 * SLOW, close_timeout=2, compression=None, legacy=True) as ws:
        for line in lines:
            if line.startswith("> "):
                ws.send(line[2:])
                continue
            assert line.startswith("< "), line
            want, whys, end = as_json(line[2:]), [], time.monotonic() + 10 * SLOW
            while True:
                fits = [i for i, got in enumerate(came)
                        if (not lacks(want, as_json(got)) if isinstance(want, dict) else got == line[2:])]
                if fits:
                    del came[fits[0]]
                    break
                whys += [lacks(want, as_json(got)) if isinstance(want, dict) else got for got in came]
                try:
                    came += ws.recv(timeout=max(0.001, end - time.monotonic())).rstrip("\n").split("\n")
                except TimeoutError:
                    pytest.fail(f"{first}: {line} did not come; what came: {came}; {whys[-3:]}")


def test_the_examples_of_the_api_hold(room, name):
    assert len(BLOCKS) > 20
    places, statuses = {}, set()
    for kind, block in BLOCKS:
        block = block.replace("/hall", f"/{name}").replace('"hall"', f'"{name}"').replace("room=hall", f"room={name}")
        if kind == "ws":
            check_ws(room, block)
        else:
            statuses.add(check_http(room, block, places))
    assert statuses >= {200, 201, 204, 206, 400, 404, 405, 409, 426}


def test_the_shapes_are_looked_at():
    assert not lacks({"a": [{"b": 1}]}, {"a": [{"c": 2}, {"b": 2.5}]})
    assert lacks({"a": 1}, {"a": "1"}) and lacks({"a": 1}, {"a": 1, "b": 2}) and lacks([{"a": 1}], [])
    assert lacks({"a": True}, {"a": 1}) and lacks({"a": 1}, {"a": True}) and not lacks({"a": True}, {"a": False})


def test_every_route_is_described():
    """The gateway's table of paths, read out of the source, and the page."""
    sources = [p.read_text() for p in (ROOT / "services" / "gateway").rglob("*.c") if not p.name.endswith("_test.c")]
    paths = {p for text in sources for p in re.findall(r'(?:\.path = |\bpaths\[\] = \{)"(/[a-z0-9/]*)"', text)}
    assert paths >= {"/api/v1/rooms", "/files/", "/live/"}
    for path in paths:
        assert f"`{path}" in TEXT or f" {path}" in TEXT, f"docs/api.md says nothing of {path}"
