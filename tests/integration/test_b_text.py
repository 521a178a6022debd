# SPDX-License-Identifier: MIT
"""/ws: what the page of the gorilla chat example relies on."""
import concurrent.futures

import pytest
from websockets.exceptions import ConnectionClosed

from harness import SLOW
from wsraw import TEXT, RawWebSocket, frame, request


def test_two_people_talk(room, name):
    with room.gateways[0].text(name) as ann, room.gateways[-1].text(name) as bob:
        ann.send("hello")
        assert ann.line() == "hello"  # the sender receives its own line
        assert bob.line() == "hello"
        bob.send("hi Ann")
        assert ann.line() == "hi Ann"
        assert bob.line() == "hi Ann"


def test_without_a_room_it_is_the_lobby(room):
    with room.gateway.text() as plain, room.gateways[-1].text("lobby") as lobby:
        plain.send("who is here")
        assert lobby.until("who is here")


def test_the_room_is_the_parameter_of_that_name(room, name):
    with RawWebSocket(room.gateway, f"/ws?bathroom=1&room={name}") as w, room.gateway.text(name) as reader:
        w.send(TEXT, b"here")
        assert reader.line() == "here"


def test_a_sender_faster_than_the_log_loses_no_line(room, name):
    lines = [f"{i}" for i in range(3000)]
    with room.gateway.text(name) as reader, RawWebSocket(room.gateway, f"/ws?room={name}") as w:
        w.send(TEXT, b"first")
        assert reader.line() == "first"
        w.sock.sendall(b"".join(frame(TEXT, x.encode()) for x in lines))
        assert reader.until(lines[-1], 30) == lines


def test_rooms_do_not_mix(room, name):
    with room.gateway.text(name) as a, room.gateway.text(name + "2") as b:
        a.send("for one")
        a.until("for one")
        b.send("for two")
        assert b.line() == "for two"


def test_newlines_become_blanks_and_the_ends_are_trimmed(room, name):
    """One frame is one line: that is how the example's server treats it."""
    with room.gateway.text(name) as a:
        a.send("  two\nlines \n")
        assert a.line() == "two lines"


def test_joined_lines_are_never_torn(room, name):
    with room.gateway.text(name) as reader, room.gateways[-1].text(name) as writer:
        sent = [f"line {i} x" + "x" * (i % 300) for i in range(400)]
        for line in sent:
            writer.send(line)
        assert reader.until(sent[-1], 20) == sent


def test_everybody_gets_the_same_order(room, name):
    readers = [g.text(name) for g in room.gateways for _ in range(2)]
    writers = [g.text(name) for g in room.gateways for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda w: [w[1].send(f"{w[0]}.{i}") for i in range(50)], enumerate(writers)))
    orders = [[r.line(20) for _ in range(50 * len(writers))] for r in readers]
    assert all(o == orders[0] for o in orders)
    for w in range(len(writers)):
        assert [x for x in orders[0] if x.startswith(f"{w}.")] == [f"{w}.{i}" for i in range(50)]
    for c in readers + writers:
        c.close()


def test_utf8_goes_through(room, name):
    with room.gateway.text(name) as a, room.gateways[-1].text(name) as b:
        a.send("早上好 🌞 naïve <b>&amp;")
        assert b.line() == "早上好 🌞 naïve <b>&amp;"


def test_a_room_name_is_percent_decoded_utf8(room):
    with room.gateway.text("%E6%88%BF%E9%97%B4") as a, room.gateways[-1].text("房间") as b:
        a.send("in the same room")
        assert b.line() == "in the same room"


@pytest.mark.parametrize("bad", ["%2e%2e%2fetc", "a/b", "%00", "a%0ab", "%ff%fe", "x" * 300])
def test_a_name_that_is_none_is_refused(room, bad):
    with room.gateway.raw() as s:
        s.sendall(request(f"/ws?room={bad}", room.gateway.port))
        assert s.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_clean_close_is_answered(room, name):
    a = room.gateway.text(name)
    a.ws.close(1000, "bye")
    with pytest.raises(ConnectionClosed):
        a.ws.recv()
    assert a.ws.close_code == 1000


def test_ping_is_answered(room, name):
    with room.gateway.text(name) as a:
        assert a.ws.ping(b"are you there").wait(10 * SLOW)
