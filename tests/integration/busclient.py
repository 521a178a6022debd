# SPDX-License-Identifier: MIT
"""The bus as another language sees it: pynng and generated protobuf, nothing of ours."""
import contextlib

import pynng
from watchroom.v1 import bus_pb2, files_pb2, hub_pb2, ingest_pb2, node_pb2  # noqa: F401  (for the tests)

from harness import SLOW


class CallFailed(Exception):
    def __init__(self, code, message):
        super().__init__(f"{bus_pb2.Code.Name(code)}: {message}")
        self.code, self.message = code, message


class Bus:
    def __init__(self, url):
        self.socket = pynng.Req0(dial=url, recv_timeout=int(15000 * SLOW), send_timeout=int(5000 * SLOW),
                                 recv_max_size=8 << 20)

    def raw(self, payload):
        self.socket.send(payload)
        try:
            return self.socket.recv()
        except RuntimeError:  # an answer without a byte (code 0, no body): pynng cannot unpack its NULL
            return b""

    def call(self, method, request, answer_type):
        call = bus_pb2.Call(method=f"watchroom.v1.{method}", body=request.SerializeToString(), deadline_ms=14000)
        answer = bus_pb2.Answer.FromString(self.raw(call.SerializeToString()))
        if answer.code:
            raise CallFailed(answer.code, answer.message)
        return answer_type.FromString(answer.body)

    def describe(self):
        return self.call("Node/Describe", node_pb2.DescribeRequest(), node_pb2.NodeInfo)

    def history(self, room):
        """The whole log of a room, by paging."""
        entries, since = [], 0
        while True:
            h = self.call("Hub/History", hub_pb2.HistoryRequest(room=room, has_since=True, since_offset=since, limit=1000),
                          hub_pb2.HistoryResponse)
            entries += h.publications
            if not h.publications:
                return entries
            since = h.publications[-1].offset

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def events(url, *topics):
    with pynng.Sub0(dial=url, recv_timeout=int(10000 * SLOW), recv_max_size=8 << 20, recv_buffer_size=8192) as s:
        for t in topics:
            s.subscribe(t)
        yield s


def event_of(message):
    topic, _, body = message.partition(b"\0")
    return topic.decode(), bus_pb2.Event.FromString(body)
