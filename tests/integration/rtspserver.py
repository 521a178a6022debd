# SPDX-License-Identifier: MIT
"""An RTSP server for what the tests' camera cannot do: Digest with nonces that are used up, odd answers, and lies."""
import base64
import contextlib
import hashlib
import re
import secrets
import socket
import struct
import subprocess
import threading


def pictures():
    """The NAL units of each picture of a second of H.264, one slice a picture."""
    stream = subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=25", "-t", "1", "-c:v",
                             "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-x264-params", "slices=1:threads=1",
                             "-bsf:v", "filter_units=remove_types=6", "-f", "h264", "-"], capture_output=True, check=True).stdout
    out, unit = [], []
    for nal in re.split(b"\0\0\0?\1", stream)[1:]:
        unit.append(nal)
        if nal[0] & 31 in (1, 5):
            out.append(unit)
            unit = []
    return out


class RtspServer:
    """RtspServer(digest=None | "qop" | "plain", ...): user admin, password right.

    one_time: each nonce is good for one request. session: the value of the Session header, None for no such header. base:
    Content-Base. status: {method or "SETUP audio": status}. tail: called with the socket after PLAY instead of pictures.
    greeting: bytes that are sent instead of the first answer. noise: a packet that is sent before each picture. sound: the
    promised G.711 comes from one second of the stream to another, (0, 0) never. audio: its payload type, 8 is A-law."""

    def __init__(self, digest=None, one_time=False, session="abc;timeout=60", base="", status=None, media="", tail=None,
                 greeting=None, noise=None, sound=(0, 0), audio=8):
        self.digest, self.one_time, self.session, self.base = digest, one_time, session, base
        self.status, self.media, self.tail, self.greeting, self.noise = status or {}, media, tail, greeting, noise
        self.pictures, self.sound, self.audio = pictures(), sound, audio
        self.requests, self.refused, self.nonce = [], 0, secrets.token_hex(8)
        self.changed, self.over = threading.Condition(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://admin:right@127.0.0.1:{self.listener.getsockname()[1]}/live"
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def await_request(self, method, count=1, timeout=20):
        """Until so many requests of a method were accepted."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.requests.count(method) >= count, timeout), (method, self.requests)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.talk, args=(self.listener.accept()[0],), daemon=True).start()

    def is_right(self, method, head):
        if not self.digest:
            return True
        p = dict(re.findall(r'(\w+)="?([^",]+)', head.get("authorization", "")))
        md5 = lambda *a: hashlib.md5(":".join(a).encode()).hexdigest()  # noqa: E731
        ha1, ha2 = md5("admin", "cam", "right"), md5(method, p.get("uri", ""))
        more = (p.get("nc", ""), p.get("cnonce", ""), "auth") if self.digest == "qop" else ()
        ok = p.get("nonce") == self.nonce and p.get("response") == md5(ha1, self.nonce, *more, ha2)
        if self.one_time:
            self.nonce = secrets.token_hex(8)
        return ok

    def sdp(self):
        sets = ",".join(base64.b64encode(n).decode() for n in self.pictures[0][:2])
        return self.media or ("v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:video\r\n"
                              f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
                              f"m=audio 0 RTP/AVP {self.audio}\r\na=control:audio\r\n")

    def answer(self, sock, method, url, head):
        status, body = self.status.get(method, self.status.get(f"{method} {url.rpartition('/')[2]}", 200)), b""
        lines = [f"CSeq: {head['cseq']}"]
        if not self.is_right(method, head):
            qop = ', qop="auth"' if self.digest == "qop" else ""
            lines.append(f'WWW-Authenticate: Digest realm="cam", nonce="{self.nonce}", stale=true{qop}')
            status, self.refused = 401, self.refused + 1
        elif method == "DESCRIBE":
            body = self.sdp().encode()
            lines += [f"Content-Base: {self.base}"] if self.base else []
        elif method == "SETUP":
            lines.append("Transport: " + head["transport"])
        if self.session and method != "DESCRIBE":
            lines.append("Session: " + self.session)
        sock.sendall("\r\n".join([f"RTSP/1.0 {status} So", *lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        if status == 200:
            with self.changed:
                self.requests.append(method)
                self.changed.notify_all()
        return status == 200

    def talk(self, sock):
        with sock, contextlib.suppress(OSError):
            sender, lock = None, threading.Lock()
            file = sock.makefile("rb")
            while first := file.readline():
                method, url, _ = first.decode().split()
                head = {}
                while (line := file.readline().strip()):
                    name, _, value = line.decode().partition(":")
                    head[name.lower()] = value.strip()
                if self.greeting is not None:
                    sock.sendall(self.greeting)
                    continue
                with lock:
                    ok = self.answer(sock, method, url, head)
                if ok and method == "PLAY" and not sender:
                    sender = threading.Thread(target=self.play, args=(sock, lock), daemon=True)
                    sender.start()

    def play(self, sock, lock):
        with contextlib.suppress(OSError):
            if self.tail:
                return self.tail(sock)
            seq, at = 0, 0
            while not self.over.wait(0.04):
                unit = self.pictures[at % len(self.pictures)]
                if self.noise is not None:
                    with lock:
                        sock.sendall(struct.pack(">cBH", b"$", 0, len(self.noise)) + self.noise)
                for i, nal in enumerate(unit):
                    last = 0x80 if i == len(unit) - 1 else 0
                    p = struct.pack(">BBHII", 0x80, last | 96, seq & 0xFFFF, at * 3600, 1) + nal
                    seq += 1
                    with lock:
                        sock.sendall(struct.pack(">cBH", b"$", 0, len(p)) + p)
                if self.sound[0] <= at / 25 < self.sound[1]:
                    p = struct.pack(">BBHII", 0x80, 8, at & 0xFFFF, at * 320, 2) + b"\xd5" * 320
                    with lock:
                        sock.sendall(struct.pack(">cBH", b"$", 2, len(p)) + p)
                at += 1
