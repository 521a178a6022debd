#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Greets who joins a room and answers `!time`, over the bus: python3 bot.py [ROOM] (see README.md beside it)."""
import datetime
import json
import os
import sys
import uuid

import pynng
from watchroom.v1 import bus_pb2, hub_pb2

ROOM = sys.argv[1] if len(sys.argv) > 1 else "demo"
CALLS = os.environ.get("WATCHROOM_BUS_HUB", "tcp://127.0.0.1:7101")
EVENTS = os.environ.get("WATCHROOM_BUS_HUB_EVENTS", "tcp://127.0.0.1:7102")


def say(hub, text):
    """Publishes a line. The key makes a call that is sent twice one message; the answer means that it is on disk."""
    data = json.dumps({"text": text, "name": "Bot"}).encode()
    item = hub_pb2.PublishItem(room=ROOM, kind=hub_pb2.ENTRY_KIND_CHAT, key=uuid.uuid4().bytes, data=data)
    request = hub_pb2.PublishRequest(items=[item])
    hub.send(bus_pb2.Call(method="watchroom.v1.Hub/Publish", body=request.SerializeToString()).SerializeToString())
    answer = bus_pb2.Answer.FromString(hub.recv())
    if answer.code:
        print(f"not said: {answer.message}", file=sys.stderr)


with pynng.Req0(dial=CALLS, recv_timeout=5000) as hub, pynng.Sub0(dial=EVENTS) as events:
    events.subscribe(f"room/{ROOM}\0".encode())  # the zero byte keeps room/1 from matching room/12
    print(f"the bot is in {ROOM}", flush=True)
    while True:
        topic, _, body = events.recv().partition(b"\0")
        room = bus_pb2.Event.FromString(body).room
        for member in room.joined:
            name = json.loads(member.conn_info or b"{}").get("name")
            say(hub, f"Welcome, {name}!" if name else "Welcome!")
        for publication in room.publications:
            data = json.loads(publication.data)
            if isinstance(data, dict) and data.get("text") == "!time":
                say(hub, f"It is {datetime.datetime.now():%H:%M:%S}.")
