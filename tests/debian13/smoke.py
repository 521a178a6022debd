#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Start everything in one process; chat, look at the live stream, send a file; end it.

    smoke.py PATH-OF-WATCHROOM [PORT]

Uses nothing but the standard library, ffprobe and curl, so that it runs on a bare machine. What the
parts do in detail is tested in tests/integration/; this says that they are there and work together.
"""
import base64
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

LIMIT_S = 30


class TextClient:
    """Just enough of RFC 6455 to talk to /ws."""

    def __init__(self, port, room):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((f"GET /ws?room={room} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                           f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                           "Sec-WebSocket-Version: 13\r\n\r\n").encode())
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self._more()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert head.startswith(b"HTTP/1.1 101 ") and accept in head, head

    def _more(self):
        chunk = self.sock.recv(65536)
        assert chunk, "the server closed the connection"
        self.bytes += chunk

    def _take(self, count):
        while len(self.bytes) < count:
            self._more()
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        assert len(data) < 126
        self.sock.sendall(bytes([0x81, 0x80 | len(data)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def until(self, text):
        """Read lines until `text` is one; the server may join lines, and pings in between."""
        while True:
            first, second = self._take(2)
            length = second & 0x7F
            if length == 126:
                length, = struct.unpack(">H", self._take(2))
            elif length == 127:
                length, = struct.unpack(">Q", self._take(8))
            data = self._take(length)
            if first & 0x0F == 1 and text in data.decode().split("\n"):
                return
            assert first & 0x0F != 8, f"closed before {text!r} came: {data!r}"


def get(url):
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        return answer.read()


def await_health(url, server):
    deadline = time.monotonic() + LIMIT_S
    reason = "nothing answered"
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        try:
            get(url)
            return
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} is not healthy after {LIMIT_S} s: {reason}")


def check_chat(port):
    ann, bob = TextClient(port, "demo"), TextClient(port, "demo")
    ann.send("hello from Ann")
    bob.until("hello from Ann")
    ann.until("hello from Ann")
    bob.send("你好，Ann")
    ann.until("你好，Ann")


def check_live(base):
    for name in ("demo.mp4", "demo.flv"):
        out = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "json",
                              f"{base}/live/{name}"], timeout=LIMIT_S, capture_output=True, text=True)
        assert out.returncode == 0, f"ffprobe of {name}: {out.stderr}"
        codecs = sorted({stream["codec_name"] for stream in json.loads(out.stdout)["streams"]})
        assert codecs == ["aac", "h264"], (name, codecs)


def curl(*arguments):
    return subprocess.run(["curl", "-sS", "--max-time", str(LIMIT_S), *arguments], check=True, capture_output=True,
                          text=True).stdout


def check_file(base, folder):
    path = os.path.join(folder, "sent.bin")
    with open(path, "wb") as file:
        file.write(os.urandom(3_000_000))
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}"
                        for key, value in (("filename", "sent.bin"), ("room", "demo")))
    location = curl("-o", os.devnull, "-w", "%header{location}", "-X", "POST", "-H", "Tus-Resumable: 1.0.0",
                    "-H", "Upload-Length: 3000000", "-H", f"Upload-Metadata: {metadata}", f"{base}/files/")
    assert location, "the creation of an upload answered without Location"
    url = urllib.parse.urljoin(f"{base}/files/", location)
    status = curl("-o", os.devnull, "-w", "%{http_code}", "-X", "PATCH", "-H", "Tus-Resumable: 1.0.0",
                  "-H", "Upload-Offset: 0", "-H", "Content-Type: application/offset+octet-stream",
                  "--data-binary", f"@{path}", url)
    assert status == "204", status
    with open(path, "rb") as file:
        assert get(url) == file.read(), "what came back is not what was sent"
    part = curl("-r", "1000-1999", "-o", os.path.join(folder, "part"), "-w", "%{http_code}", url)
    assert part == "206", part


def main():
    binary = sys.argv[1]
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([binary, "serve", "--listen", f"127.0.0.1:{port}", "--health", f"127.0.0.1:{port + 1}",
                                   "--data", os.path.join(folder, "data")])
        try:
            await_health(f"http://127.0.0.1:{port + 1}/healthz", server)
            print("healthy", flush=True)
            assert b"<html" in get(f"{base}/").lower(), "the page is not there"
            print("page", flush=True)
            check_chat(port)
            print("chat", flush=True)
            check_live(base)
            print("live", flush=True)
            check_file(base, folder)
            print("file", flush=True)
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=LIMIT_S) == 0, f"SIGTERM ended it with {server.returncode}"
            print("end", flush=True)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()


if __name__ == "__main__":
    main()
