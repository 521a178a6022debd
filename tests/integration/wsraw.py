# SPDX-License-Identifier: MIT
"""A WebSocket by hand, to send what no well-behaved client sends."""
import base64
import os
import socket
import struct

from harness import SLOW

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, mask=True, rsv=0, length=None):
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    n = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    if n < 126:
        head += bytes([bit | n])
    elif n < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", n)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", n)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(b ^ key[i & 3] for i, b in enumerate(payload))


def request(path, port, extra=()):
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *extra, "", ""]
    return "\r\n".join(lines).encode()


class RawWebSocket:
    def __init__(self, gateway, path="/ws", extra=(), rcvbuf=None):
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(10 * SLOW)
        self.sock.connect(("127.0.0.1", gateway.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(request(path, gateway.port, extra))
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        self.head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head

    def more(self):
        chunk = self.sock.recv(65536)
        if not chunk:
            raise EOFError("the server closed the connection")
        self.buffer += chunk

    def take(self, n):
        while len(self.buffer) < n:
            self.more()
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def send(self, *a, **kw):
        self.sock.sendall(frame(*a, **kw))

    def recv(self):
        """(opcode, payload) of the next frame; server frames are unmasked."""
        b0, b1 = self.take(2)
        assert not b1 & 0x80, "a server must not mask"
        n = b1 & 0x7F
        if n == 126:
            n = struct.unpack(">H", self.take(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.take(8))[0]
        return b0 & 0x0F, self.take(n)

    def close_code(self):
        """The code of the close frame that comes, past whatever else comes before it; then the end of the connection."""
        while True:
            op, payload = self.recv()
            if op == CLOSE:
                break
        code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
        try:
            self.send(CLOSE, payload[:2])
            while True:
                self.more()
        except (EOFError, ConnectionError):
            pass
        return code

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
