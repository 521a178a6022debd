# SPDX-License-Identifier: MIT
"""The running composition: compose and docker commands, containers by service, and what the kernel knows of them."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy/compose.yml"
SERVICES = ("hub", "ingest", "filestore", "gateway", "nginx")


def free_port(wanted):
    """`wanted` when nobody has it, else any free one."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
    raise AssertionError("no free port")


def until(check, timeout, what):
    """Looks until check() gives something true; the engine has no event for most of what is awaited here."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = check()
            if value:
                return value
        except (requests.RequestException, OSError, AssertionError) as error:
            last = error
        assert time.monotonic() < end, f"{what}: not within {timeout} s ({last!r})" if last else f"{what}: not within {timeout} s"
        time.sleep(0.1)


class Stack:
    def __init__(self):
        self.port = free_port(8080)
        self.http = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}"
        self.centrifuge = f"{self.ws}/connection/websocket"
        self.env = os.environ | {"WATCHROOM_PORT": str(self.port)}

    def compose(self, *arguments, timeout=180):
        ran = subprocess.run([os.environ["COMPOSE"], "-f", str(FILE), *arguments], env=self.env, cwd=ROOT, timeout=timeout,
                             capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert ran.returncode == 0, f"compose {' '.join(arguments)} ended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def docker(self, *arguments, timeout=60):
        ran = subprocess.run(["docker", *arguments], timeout=timeout, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert ran.returncode == 0, f"docker {' '.join(arguments)} ended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def up(self, **scale):
        """`up -d`, with --scale; waits as compose does, then until nginx answers for a gateway."""
        numbers = [word for service, n in scale.items() for word in ("--scale", f"{service}={n}")]
        self.compose("up", "-d", "--no-build", "--no-recreate", *numbers)
        until(self.answers, 60, "an answer of a gateway through nginx")

    def answers(self):
        return requests.get(f"{self.http}/api/v1/rooms", timeout=5).status_code == 200

    def members(self, room):
        """How many connections are in that room, by whichever gateway is asked."""
        rooms = requests.get(f"{self.http}/api/v1/rooms", timeout=5).json()["rooms"]
        return sum(r["members"] for r in rooms if r["room"] == room)

    def containers(self, service, everything=False):
        """Their inspections, oldest number first."""
        ids = self.docker("ps", "-q", *(["-a"] if everything else []), "--no-trunc",
                          "--filter", f"label=com.docker.compose.project={os.environ['COMPOSE_PROJECT_NAME']}",
                          "--filter", f"label=com.docker.compose.service={service}").split()
        if not ids:
            return []
        found = json.loads(self.docker("inspect", *ids))
        return sorted(found, key=lambda c: int(c["Config"]["Labels"]["com.docker.compose.container-number"]))

    def inspect(self, container):
        return json.loads(self.docker("inspect", container["Id"]))[0]

    def is_healthy(self, container):
        state = self.inspect(container)["State"]
        return state["Running"] and state["Health"]["Status"] == "healthy"

    def logs(self, container):
        ran = subprocess.run(["docker", "logs", container["Id"]], capture_output=True, text=True, timeout=60)
        return ran.stdout + ran.stderr

    def kill(self, container):
        """kill -9 of the container's process, as a crash or the kernel's OOM killer would; the engine must start it again.
        (`docker kill` would count as the user's wish that it stays down.)"""
        before = self.inspect(container)
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        until(lambda: self.inspect(container)["RestartCount"] > before["RestartCount"], 30,
              f"{container['Name']} is started again")
        until(lambda: self.is_healthy(container), 40, f"{container['Name']} is healthy again")

    def connections(self, container, ports):
        """Established connections that others opened to these ports of a container, from its own network namespace."""
        pid = self.inspect(container)["State"]["Pid"]
        peers = []
        for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, state = line.split()[:4]
            if state == "01" and int(local.split(":")[1], 16) in ports and not remote.startswith("0100007F"):
                peers.append(remote.split(":")[0])
        return peers

    def gateway_clients(self):
        """How many connections nginx holds to each gateway."""
        return [len(self.connections(c, {8000})) for c in self.containers("gateway")]

    def dump(self, lines=40):
        text = []
        for service in SERVICES:
            for c in self.containers(service, everything=True):
                state = c["State"]
                text.append(f"--- {c['Name']} {state['Status']} exit {state['ExitCode']} restarts {c['RestartCount']}")
                text += self.logs(c).splitlines()[-lines:]
        return "\n".join(text)
