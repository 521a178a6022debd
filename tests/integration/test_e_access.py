# SPDX-License-Identifier: MIT
"""Every door asks for rights, and says in its own words that somebody may not. The policy `deny` is of the tests
(services/gateway/access/test): it refuses the verbs that it is told to, also from one moment to the next."""
import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness import BUILD, SLOW, Room, run, until
from test_c_centrifuge import Json
from test_f_live import state_of

CONFIG = f"plugin_path: {BUILD}/test-plugins\ngateway: {{ auth: deny }}\n"


@pytest.fixture(scope="module")
def guarded(shape):
    """The stream `never` has a source that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        streams = f"streams: {{ demo: 'synthetic:', never: 'rtsp://127.0.0.1:{silent.getsockname()[1]}/' }}\n"
        with Room(shape, config=CONFIG + streams) as r:
            yield r


@pytest.fixture
def deny(guarded):
    """deny("talk+see"): nobody may that any more, at any gateway."""
    def now(verbs):
        for g in guarded.gateways:
            g.get("/api/v1/rooms", headers={"X-Deny": verbs})
    yield now
    now("")


def error_of(c, i, command):
    c.command({"id": i} | command)
    return c.reply(i)["error"]


@pytest.mark.parametrize("verb, command, sentence", [
    ("see", {"subscribe": {"channel": "hall"}}, "look into the room hall"),
    ("see", {"presence": {"channel": "hall"}}, "look into the room hall"),
    ("see", {"presence_stats": {"channel": "hall"}}, "look into the room hall"),
    ("talk", {"publish": {"channel": "hall", "data": {}}}, "write in the room hall"),
    ("talk", {"rpc": {"method": "room.send", "data": {"room": "hall", "data": {}}}}, "write in the room hall"),
    ("hear_past", {"history": {"channel": "hall"}}, "read the history of the room hall"),
])
def test_a_command_without_the_right_is_error_103_with_a_sentence(guarded, deny, verb, command, sentence):
    with Json(guarded.gateway) as c:
        deny(verb)
        assert error_of(c, 2, command) == {"code": 103, "message": f"you may not {sentence}"}
        deny("")
        c.command({"id": 3} | command)
        assert "error" not in c.reply(3)


def test_who_may_not_read_the_past_comes_in_without_it(guarded, deny, name):
    with Json(guarded.gateway) as c:
        c.command({"id": 2, "publish": {"channel": name, "data": 1}})
        c.reply(2)
        deny("hear_past")
        c.command({"id": 3, "subscribe": {"channel": name, "recover": True, "offset": 0}})
        r = c.reply(3)["subscribe"]
        assert r["was_recovering"] and "recovered" not in r and "publications" not in r and r["offset"] == 1


def test_members_that_lose_the_right_are_out_at_once(guarded, deny, name):
    with Json(guarded.gateway) as c, guarded.gateways[-1].text(name) as lines:
        c.command({"id": 2, "subscribe": {"channel": name}})
        c.reply(2)
        deny("see")
        while not c.pushes:
            c.pump()
        assert c.pushes == [{"channel": name, "unsubscribe": {"code": 2000, "reason": "permission denied"}}]
        with pytest.raises(ConnectionClosed) as closed:
            lines.line()
        assert closed.value.rcvd.code == 1008 and "may not look into" in closed.value.rcvd.reason
        deny("")
        c.command({"id": 3, "publish": {"channel": name, "data": 1}})
        assert "publish" in c.reply(3) and len(c.pushes) == 1  # nothing of the room came any more


@pytest.mark.parametrize("query, token", [("?user=ann", None), ("", "ann"), ("?user=bob", "ann")])
def test_others_see_who_the_policy_says_it_is(guarded, name, query, token):
    with connect(guarded.gateway.centrifuge + query, open_timeout=10 * SLOW, compression=None, legacy=True) as ws:
        ws.send(json.dumps({"id": 1, "connect": {"token": token} if token else {}}) + "\n" +
                json.dumps({"id": 2, "subscribe": {"channel": name}}))
        with Json(guarded.gateways[-1]) as other:
            def users():
                other.command({"id": 2, "presence": {"channel": name}})
                return [m["user"] for m in other.reply(2)["presence"]["presence"].values()]
            until(lambda: users() == ["ann"], what="the member")


def test_a_wrong_token_is_closed_with_3500(guarded):
    with Json(guarded.gateway, connect_first=False) as c:
        c.command({"id": 1, "connect": {"token": "wrong"}})
        assert c.closed_with() == 3500


def test_lines_are_refused_in_words(guarded, deny, name):
    with guarded.gateway.text(name) as lines:
        deny("talk")
        lines.send("hello")
        assert lines.line() == f"(not sent: you may not write in the room {name})"
        deny("see+talk")
        with pytest.raises(ConnectionClosed):
            lines.line()


def test_who_may_not_come_in_is_answered_401(guarded, deny):
    deny("enter")
    r = guarded.gateway.get("/api/v1/rooms")
    assert r.status_code == 401 and r.json()["error"]["message"] == "nobody comes in today"
    assert r.headers["WWW-Authenticate"] == "Bearer"
    with pytest.raises(InvalidStatus) as refused:
        Json(guarded.gateway)
    assert refused.value.response.status_code == 401


def test_who_may_not_look_gets_no_picture(guarded, deny):
    deny("see")
    for path in ("/live/demo.mp4", "/live/nothing.flv"):  # nor does he hear what there is
        r = guarded.gateway.get(path)
        assert r.status_code == 403
        assert r.json()["error"]["message"] == f"you may not look into the stream {path[6:-4]}"
    with pytest.raises(InvalidStatus) as refused:
        connect(guarded.gateway.ws + "/live/demo.mp4")
    assert refused.value.response.status_code == 403


def ends(raw):
    """What was on its way, then the end."""
    end = time.monotonic() + 20 * SLOW
    while raw.read(65536):
        assert time.monotonic() < end, "he still gets pictures"


def watch_http(gateway, query=""):
    """A viewer by HTTP who has had pictures; what is left of his answer."""
    r = gateway.request("GET", f"/live/demo.flv{query}", stream=True, timeout=20 * SLOW)
    assert r.status_code == 200
    assert r.raw.read(1000)
    return r.raw


def watch_ws(gateway, query=""):
    ws = connect(f"{gateway.ws}/live/demo.mp4{query}", open_timeout=10 * SLOW, compression=None, max_size=None, legacy=True)
    while isinstance(ws.recv(timeout=10 * SLOW), str):
        pass
    return ws


def ends_with_1008(ws, sentence):
    end = time.monotonic() + 20 * SLOW
    with pytest.raises(ConnectionClosed) as closed:
        while time.monotonic() < end:
            ws.recv(timeout=10 * SLOW)
    assert closed.value.rcvd.code == 1008 and sentence in closed.value.rcvd.reason


def test_viewers_that_lose_the_right_see_no_more(guarded, deny):
    g = guarded.gateways[-1]
    raw, ws = watch_http(g), watch_ws(g)
    deny("talk")  # of something else: they stay
    assert raw.read(1000) and ws.recv(timeout=10 * SLOW)
    deny("see")
    ends_with_1008(ws, "you may not look into the stream demo")
    ends(raw)


def test_viewers_are_out_when_their_session_is_over(guarded):
    g = guarded.gateway
    stays = watch_http(g)  # so that the others have pictures at once
    lasts = f"?lasts={2000 * SLOW}"
    raw, ws = watch_http(g, lasts), watch_ws(g, lasts)
    ends_with_1008(ws, "your session is over")
    ends(raw)
    assert stays.read(1000)
    stays.close()


def test_who_waits_for_a_picture_is_answered_403_when_he_may_not_any_more(guarded, deny):
    g = guarded.gateways[-1]
    with ThreadPoolExecutor(1) as pool:
        ws = connect(f"{g.ws}/live/never.mp4", open_timeout=10 * SLOW, compression=None, legacy=True)
        asked = pool.submit(g.get, "/live/never.flv", timeout=20 * SLOW)
        until(lambda: state_of(g, "never")["viewers"] == 2, what="both viewers")
        deny("see")
        r = asked.result()
    ends_with_1008(ws, "you may not look into the stream never")
    assert r.status_code == 403 and r.json()["error"]["message"] == "you may not look into the stream never"


def test_who_may_not_send_or_get_files_is_told(guarded, deny, name):
    def b64(text):
        return base64.b64encode(text.encode()).decode()

    def ask(method, path, status, **headers):
        r = guarded.gateway.request(method, path, headers={"Tus-Resumable": "1.0.0"} | headers,
                                    data=b"abc" if method == "PATCH" else None)
        assert r.status_code == status, r.text
        return r

    create = {"Upload-Length": "3", "Upload-Metadata": f"filename {b64('a.txt')},room {b64(name)}"}
    patch = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    deny("send_files")
    r = ask("POST", "/files/", 403, **create)
    assert r.json()["error"]["message"] == f"you may not send files to the room {name}"
    deny("")
    path = "/files/" + ask("POST", "/files/", 201, **create).headers["Location"].rsplit("/", 1)[1]
    deny("send_files")
    ask("PATCH", path, 403, **patch)
    ask("HEAD", path, 403)
    ask("DELETE", path, 403)
    deny("")
    ask("PATCH", path, 204, **patch)
    deny("get_files")
    r = guarded.gateway.get(path)
    assert r.status_code == 403 and r.json()["error"]["message"] == f"you may not get files of the room {name}"
    deny("moderate")
    ask("DELETE", path, 403)
    deny("")
    assert guarded.gateway.get(path).content == b"abc"
    ask("DELETE", path, 204)


@pytest.mark.parametrize("verb, path", [("see", "/api/v1/rooms"), ("see", "/api/v1/streams"), ("admin", "/api/v1/services"), ("admin", "/metrics")])
def test_routes_without_the_right_are_403_with_a_sentence(guarded, deny, verb, path):
    deny(verb)
    r = guarded.gateway.get(path)
    assert r.status_code == 403
    assert r.json()["error"]["message"] == f"you may not {'look into' if verb == 'see' else 'administer'} this server"
    # The operators' own address asks nobody.
    assert guarded.gateway.metrics()['watchroom_gateway_refused_total{at="question"}'] > 0
    assert guarded.gateway.healthy()


def test_members_are_out_when_their_session_is_over(guarded, name):
    with guarded.gateway.text(name) as stays:
        ws = connect(f"{guarded.gateway.ws}/ws?room={name}&lasts=400", compression=None, legacy=True)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=10 * SLOW)
        assert closed.value.rcvd.code == 1008
        stays.send("still here")
        assert stays.line() == "still here"


def test_a_session_that_is_over_may_nothing(guarded):
    r = guarded.gateway.get("/api/v1/rooms?expired=1")
    assert r.status_code == 403 and r.json()["error"]["message"] == "your session is over: sign in again"


@pytest.mark.parametrize("command, auth, sentence", [("check", "nosuch", 'there is no auth plugin "nosuch"'),
                                                     ("serve", "nosuch", 'there is no auth plugin "nosuch"'),
                                                     ("serve", "deny=nonsense", "is not a list of verbs")])
def test_a_policy_that_cannot_be_is_an_error(tmp_path, command, auth, sentence):
    file = tmp_path / "w.yml"
    file.write_text(f"plugin_path: {BUILD}/test-plugins\ngateway: {{ auth: {auth} }}\n")
    r = run(command, "--config", file, "--data", tmp_path / "data", timeout=30 * SLOW)
    assert r.returncode != 0 and "gateway.auth: " in r.stderr + r.stdout and sentence in r.stderr + r.stdout
