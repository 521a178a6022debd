# SPDX-License-Identifier: MIT
"""Starts the real binaries for the tests, on free ports and with data folders of their own, and ends them by their id.

A test talks to a `Room` (the running whole): all services in one process, or four processes on TCP with two gateways.
Nothing here sleeps for luck: readiness is the byte that a service writes when it accepts work and /healthz of a gateway."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import requests
from websockets.sync.client import connect as ws_connect

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WATCHROOM_BUILD", ROOT / "build/dev"))
BINARY = pathlib.Path(os.environ.get("WATCHROOM_BIN", BUILD / "watchroom"))
NODE = ROOT / "tests/integration/node"
SANITIZER = os.environ.get("WATCHROOM_SANITIZER", "")
# Under a sanitizer everything takes longer; limits that say "not for ever" are stretched, what must be fast is not tested.
SLOW = 4 if SANITIZER else 1
READY_S = 20 * SLOW
FAULT_WORDS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "Segmentation fault",
               "Assertion `", "stack smashing", "free(): invalid", "corrupted")


def until(check, timeout=10, what="it"):
    """Waits for check() to give something true, looking often. For what has no event to wait on."""
    end = time.monotonic() + timeout * SLOW
    pause = 0.005
    last = None
    while True:
        try:
            value = check()
            if value:
                return value
        except (OSError, requests.RequestException, AssertionError) as e:
            last = e
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {timeout * SLOW} s" + (f" (last: {last!r})" if last else ""))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def own_ports():
    """The first of RANGE ports that no other run of the tests takes its own from: which run has them is who holds the name."""
    for first in range(12000, 32000, RANGE):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0watchroom-test-ports-{first}")
            return first, name
        except OSError:
            name.close()
    raise AssertionError("too many runs of the tests at once: no ports are left for this one")


RANGE = 2000
FIRST_PORT, held_name = own_ports()


def free_port_block(count):
    """A run of ports that nobody listens on, below the range that the kernel takes for outgoing connections."""
    for _ in range(200):
        base = random.randrange(FIRST_PORT, FIRST_PORT + RANGE - count)
        with contextlib.ExitStack() as held:
            try:
                for port in range(base, base + count):
                    s = held.enter_context(socket.socket())
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", port))
                return base
            except OSError:
                continue
    raise AssertionError("no free ports")


def memory_kb(pid, field="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


# One thread starts all processes: the kernel takes the end of the thread that forked for the end of the parent
# (PR_SET_PDEATHSIG), so what a test's short-lived thread had started would end with that thread.
forker = concurrent.futures.ThreadPoolExecutor(1)


class Process:
    """One watchroom process."""

    def __init__(self, name, args, env, log, wait_ready=True):
        self.name, self.args, self.env, self.log = name, [str(a) for a in args], env, pathlib.Path(log)
        self.popen = None
        self.killed = False
        if wait_ready is not None:
            self.start(wait_ready)

    @property
    def pid(self):
        return self.popen.pid

    def start(self, wait_ready=True):
        read_fd, write_fd = os.pipe()
        env = {k: v for k, v in os.environ.items() if not k.startswith("WATCHROOM_")}
        # PARENT: it ends when the tests do, however they end.
        env |= self.env | {"WATCHROOM_READY_FD": str(write_fd), "WATCHROOM_PARENT": str(os.getpid())}
        with open(self.log, "ab") as log:
            self.popen = forker.submit(subprocess.Popen, [BINARY, *self.args], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, env=env, pass_fds=[write_fd], start_new_session=True).result()
        self.killed = False
        os.close(write_fd)
        self.ready_fd = read_fd
        if wait_ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=READY_S):
        readable, _, _ = select.select([self.ready_fd], [], [], timeout)
        byte = os.read(self.ready_fd, 1) if readable else b""
        os.close(self.ready_fd)
        assert byte == b"1", f"{self.name} did not get ready:\n{self.tail()}"

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def kill(self):
        """kill -9, by id, and waits until it is gone."""
        self.killed = True
        self.popen.kill()
        self.popen.wait()

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)
        # Stopped only when every thread is: that is what the state says.
        until(lambda: " T" in pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1][:3], what="SIGSTOP")

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, timeout=15):
        """SIGTERM; what must hold after it: ends by itself, with 0."""
        if not self.alive():
            return self.popen.returncode if self.popen else None
        self.popen.send_signal(signal.SIGCONT)
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.name} did not end within {timeout * SLOW} s of SIGTERM:\n{self.tail()}") from None

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=60):
        return "\n".join(self.text().splitlines()[-lines:])


class Gateway:
    """Where clients knock."""

    def __init__(self, port, health):
        self.port, self.health = port, health
        self.http = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}"
        self.centrifuge = f"{self.ws}/connection/websocket"

    def request(self, method, path, **kw):
        return requests.request(method, self.http + path, timeout=kw.pop("timeout", 10 * SLOW), **kw)

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def api(self, what):
        r = self.get(f"/api/v1/{what}")
        assert r.status_code == 200, r.text
        return r.json()[what]

    def metrics(self):
        """{name{labels}: value} of /metrics."""
        r = requests.get(f"http://127.0.0.1:{self.health}/metrics", timeout=10 * SLOW)
        assert r.status_code == 200
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in r.text.splitlines() if line and not line.startswith("#")}

    def healthy(self):
        return requests.get(f"http://127.0.0.1:{self.health}/healthz", timeout=5 * SLOW).status_code == 200

    def text(self, room=None, **kw):
        """A client of /ws, as the gorilla chat page is one."""
        return TextClient(f"{self.ws}/ws" + (f"?room={room}" if room else ""), **kw)

    def raw(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=10 * SLOW)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s


class TextClient:
    """websockets' client on /ws: lines in, lines out (a frame may hold several)."""

    def __init__(self, url, **kw):
        self.ws = ws_connect(url, open_timeout=10 * SLOW, close_timeout=2, max_queue=None, compression=None,
                             legacy=True, **kw)
        self.lines = []
        self.frames = []
        # The protocol reads nothing before the client is in its room, so a pong says that it is.
        assert self.ws.ping().wait(10 * SLOW), "not in the room"

    def send(self, line):
        self.ws.send(line)

    def line(self, timeout=10):
        end = time.monotonic() + timeout * SLOW
        while not self.lines:
            frame = self.ws.recv(timeout=max(0.001, end - time.monotonic()))
            self.frames.append(frame)
            self.lines = frame.split("\n")
        return self.lines.pop(0)

    def until(self, line, timeout=10):
        """The lines up to and with this one."""
        end = time.monotonic() + timeout * SLOW
        got = []
        while True:
            got.append(self.line(max(0.001, (end - time.monotonic()) / SLOW)))
            if got[-1] == line:
                return got

    def close(self):
        self.ws.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Room:
    """The running whole. shape: "all" = one process; "split" = hub, filestore, ingest, two gateways."""

    live = []  # for the log dump of a failed test

    def __init__(self, shape, config=None, env=None, start=True, data=None):
        self.shape = shape
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="watchroom-test-"))
        self.data = pathlib.Path(data) if data else self.dir / "data"
        self.base = free_port_block(40)
        self.env = dict(env or {})
        self.processes = {}
        self.config = None
        if config:
            self.config = self.dir / "watchroom.yml"
            self.config.write_text(config)
        n_gateways = 2 if shape == "split" else 1
        self.gateways = [Gateway(self.base + 2 * i, self.base + 2 * i + 1) for i in range(n_gateways)]
        self.gateway = self.gateways[0]
        self.bus = {}
        if shape == "split":
            for i, s in enumerate(("hub", "ingest", "filestore")):
                self.bus[s] = (f"tcp://127.0.0.1:{self.base + 10 + 2 * i}", f"tcp://127.0.0.1:{self.base + 11 + 2 * i}")
                self.env |= {f"WATCHROOM_BUS_{s.upper()}": self.bus[s][0],
                             f"WATCHROOM_BUS_{s.upper()}_LISTEN": self.bus[s][0],
                             f"WATCHROOM_BUS_{s.upper()}_EVENTS": self.bus[s][1]}
            self.env["WATCHROOM_INGEST_STREAM_PORT"] = str(self.base + 20)
        Room.live.append(self)
        if start:
            try:
                self.start()
            except BaseException:
                for p in self.processes.values():
                    if p.alive():
                        p.kill()
                raise

    def flags(self, gateway=None):
        flags = ["--data", self.data]
        if self.config:
            flags += ["--config", self.config]
        if gateway:
            flags += ["--listen", f"127.0.0.1:{gateway.port}", "--health", f"127.0.0.1:{gateway.health}"]
        return flags

    def plan(self):
        if self.shape == "all":
            yield "all", ["serve", *self.flags(self.gateway)]
            return
        for s in ("hub", "filestore", "ingest"):
            yield s, ["serve", s, *self.flags()]
        for i, g in enumerate(self.gateways):
            yield f"gateway{i}", ["serve", "gateway", *self.flags(g)]

    def start(self):
        started = []
        for name, args in self.plan():
            p = Process(name, args, self.env, self.dir / f"{name}.log", wait_ready=None)
            self.processes[name] = p
            p.start(wait_ready=False)
            started.append(p)
        for p in started:
            p.wait_ready()
        self.wait_healthy()
        return self

    def wait_healthy(self, timeout=20):
        for g in self.gateways:
            until(g.healthy, timeout, f"/healthz of port {g.health}")

    def process_of(self, service):
        """The process that runs a service."""
        if self.shape == "all":
            return self.processes["all"]
        return self.processes["gateway0" if service == "gateway" else service]

    def stop(self):
        """Ends everything; says what went wrong in any process on the way."""
        bad = []
        if self not in Room.live:
            return
        names = sorted(self.processes, key=lambda n: not n.startswith("gateway"))
        for name in names:
            p = self.processes[name]
            if not p.popen:
                continue
            was_alive = p.alive()
            try:
                code = p.stop()
            except AssertionError as e:
                bad.append(str(e))
                continue
            if was_alive and code != 0:
                bad.append(f"{name} ended with {code} after SIGTERM")
            if not was_alive and not p.killed:
                bad.append(f"{name} had ended by itself with {code}")
            for word in FAULT_WORDS:
                if word in p.text():
                    bad.append(f"{name}'s log holds {word!r}")
        Room.live.remove(self)
        logs = "" if not bad else self.logs()
        shutil.rmtree(self.dir, ignore_errors=True)
        assert not bad, "\n".join(bad) + "\n" + logs

    def logs(self, lines=60):
        return "\n".join(f"--- {n} (port base {self.base}) ---\n{p.tail(lines)}" for n, p in self.processes.items())

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.stop()
        except AssertionError:
            if kind is None:
                raise


class Camera:
    """The tests' RTSP camera."""

    def __init__(self, *options):
        self.complaints = tempfile.TemporaryFile("w+", errors="replace")
        self.popen = subprocess.Popen([BUILD / "tests/camera/camera", *options], stdout=subprocess.PIPE,
                                      stderr=self.complaints, text=True, start_new_session=True)
        self.url = self.await_line("url").split(" ", 1)[1]

    def await_line(self, word, timeout=20):
        end = time.monotonic() + timeout * SLOW
        while True:
            readable, _, _ = select.select([self.popen.stdout], [], [], max(0, end - time.monotonic()))
            assert readable, f"the camera did not say {word!r}"
            line = self.popen.stdout.readline()
            assert line, f"the camera ended with {self.popen.wait()}:\n{self.complained()}"
            if line.split()[0] == word:
                return line.strip()

    def complained(self):
        self.complaints.seek(0)
        return self.complaints.read()

    def stop(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()
        self.complaints.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def run(*args, env=None, timeout=30, prefix=(), **kw):
    """watchroom ARGS to its end; by another program when there is a prefix."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WATCHROOM_")}
    return subprocess.run([*prefix, BINARY, *[str(a) for a in args]], env=clean | (env or {}), capture_output=True, text=True,
                          timeout=timeout * SLOW, stdin=subprocess.DEVNULL, **kw)


def as_root(*command):
    """Runs what only root may, by sudo when we are not root; says what is missing when neither is."""
    sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
    if sudo and not shutil.which("sudo"):
        raise AssertionError(f"`{shlex.join(command)}` needs root: run the tests as root, or install sudo")
    r = subprocess.run([*sudo, *command], capture_output=True, text=True)
    assert r.returncode == 0, f"`{shlex.join([*sudo, *command])}` failed, which only root may (sudo without a password will " \
        f"do; in a container it takes --privileged): {r.stderr.strip()}"


def node(script, *args, timeout=60):
    """A script of node/, to its end; its last line is JSON."""
    r = subprocess.run(["node", NODE / script, *[str(a) for a in args]], capture_output=True, text=True, timeout=timeout * SLOW)
    assert r.returncode == 0, f"{script} ended with {r.returncode}\n{r.stdout}\n{r.stderr}"
    return json.loads(r.stdout.strip().splitlines()[-1])


def node_start(script, *args):
    return subprocess.Popen(["node", NODE / script, *[str(a) for a in args]], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, start_new_session=True)
