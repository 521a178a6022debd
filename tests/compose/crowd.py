# SPDX-License-Identifier: MIT
"""A hundred people who talk through everything: clients of centrifuge-python in one thread, and the account of
what was acknowledged to them and what each of them heard."""
import asyncio
import collections
import itertools
import threading
import time

from centrifuge import CentrifugeError, Client, ClientEventHandler, SubscriptionEventHandler

numbers = itertools.count(1)


class Person(ClientEventHandler, SubscriptionEventHandler):
    def __init__(self, crowd, number):
        self.crowd, self.number = crowd, number
        self.heard = []          # ids of the crowd's lines, in the order in which they came
        self.texts = []          # what others than the crowd said
        self.offsets = []
        self.acknowledged = []   # ids of ours that the server acknowledged
        self.reconnects = 0
        self.unrecovered = 0     # times that the server said it could not give what was missed
        self.connected = False
        self.subscription = None
        self.said_all = False    # the last publish was answered

    async def on_connecting(self, ctx):
        if self.connected:
            self.reconnects += 1
        self.connected = False

    async def on_subscribed(self, ctx):
        self.connected = True
        if ctx.was_recovering and not ctx.recovered:
            self.unrecovered += 1

    async def on_publication(self, ctx):
        line = ctx.pub.data.get("id", "")
        if line.startswith(f"{self.crowd.name}-"):
            self.heard.append(line)
        else:
            self.texts.append(ctx.pub.data["text"])
        self.offsets.append(ctx.pub.offset)

    async def say(self, name):
        try:
            await self.subscription.publish({"text": f"line {name}", "id": name})
            self.acknowledged.append(name)
        except (CentrifugeError, asyncio.TimeoutError):
            pass  # not acknowledged: it may be in the log or not, but in it once at most

    async def talk(self, every_s):
        client = Client(self.crowd.url, events=self, max_reconnect_delay=1.0, data={"name": f"p{self.number}"})
        self.subscription = client.new_subscription(self.crowd.room, events=self, positioned=True, recoverable=True,
                                                    max_resubscribe_delay=1.0)
        await client.connect()
        await self.subscription.subscribe()
        count = 0
        # Nobody talks before all are there to hear it; then not all at once.
        await self.crowd.complete.wait()
        await asyncio.sleep(every_s * self.number / len(self.crowd.people))
        while not self.crowd.silent.is_set():
            count += 1
            await self.say(f"{self.crowd.name}-{self.number}-{count}")
            await asyncio.sleep(every_s)
        self.said_all = True
        await self.crowd.heard_enough.wait()
        await client.disconnect()


class Crowd:
    """`with Crowd(url, room, 100) as crowd:` they talk until crowd.settle(), which says what came of it."""

    def __init__(self, url, room, size, every_s=4.0):
        self.url, self.room, self.every_s = url, room, every_s
        self.name = f"crowd{next(numbers)}"  # several may be in one room
        self.people = [Person(self, i) for i in range(size)]
        self.failure = None
        self.thread = threading.Thread(target=self._run, name="crowd")

    def _run(self):
        async def everybody():
            self.loop = asyncio.get_running_loop()
            self.complete, self.silent, self.heard_enough = asyncio.Event(), asyncio.Event(), asyncio.Event()
            self.started.set()
            await asyncio.gather(*(person.talk(self.every_s) for person in self.people))
        try:
            asyncio.run(everybody())
        except Exception as error:  # told by the thread that asks
            self.failure = error

    def __enter__(self):
        self.started = threading.Event()
        self.thread.start()
        self.started.wait(10)
        self.await_connected(60)
        self.loop.call_soon_threadsafe(self.complete.set)
        return self

    def __exit__(self, *_):
        for event in (self.complete, self.silent, self.heard_enough):
            self.loop.call_soon_threadsafe(event.set)
        self.thread.join(60)

    def await_connected(self, timeout=40):
        """Everybody is there; returns how long that took."""
        began = time.monotonic()
        while True:
            assert self.failure is None, self.failure
            missing = [person.number for person in self.people if not person.connected]
            if not missing:
                return time.monotonic() - began
            assert time.monotonic() - began < timeout, f"{len(missing)} people did not come back in {timeout} s: {missing[:10]}"
            time.sleep(0.05)

    def await_talk(self, lines=20, timeout=40):
        """So many more lines are acknowledged: the room works."""
        before = self.acknowledged_count()
        end = time.monotonic() + timeout
        while self.acknowledged_count() < before + lines:
            assert self.failure is None, self.failure
            assert time.monotonic() < end, f"{self.acknowledged_count() - before} lines acknowledged in {timeout} s"
            time.sleep(0.05)

    def acknowledged_count(self):
        return sum(len(person.acknowledged) for person in self.people)

    def reconnects(self):
        return [person.reconnects for person in self.people]

    def settle(self, timeout=60):
        """Silence; then everybody has heard every acknowledged line once. Returns (acknowledged, lost, duplicated)."""
        self.loop.call_soon_threadsafe(self.silent.set)
        end = time.monotonic() + timeout
        while not all(person.said_all for person in self.people):
            assert time.monotonic() < end, "somebody waits for an answer for ever"
            time.sleep(0.05)
        self.await_connected(timeout)
        # The last word: lines come in one order, so who hears it has heard all before it, twice if twice.
        last = f"{self.name}-last"
        while last not in self.people[0].acknowledged:
            assert time.monotonic() < end, "the last word is not acknowledged"
            asyncio.run_coroutine_threadsafe(self.people[0].say(last), self.loop).result(timeout)
        while not all(last in person.heard for person in self.people) and time.monotonic() < end:
            time.sleep(0.05)
        acknowledged = {name for person in self.people for name in person.acknowledged}
        lost, duplicated = [], []
        for person in self.people:
            heard = collections.Counter(person.heard)
            if missing := acknowledged - set(heard):
                lost.append((person.number, sorted(missing)[:5]))
            if twice := [name for name, times in heard.items() if times > 1 and name != last]:
                duplicated.append((person.number, twice[:5]))
        disordered = [person.number for person in self.people if person.offsets != sorted(person.offsets)]
        unrecovered = [person.number for person in self.people if person.unrecovered]
        assert not disordered, f"heard out of order: {disordered}"
        assert not unrecovered, f"not recovered: {unrecovered}"
        return len(acknowledged), lost, duplicated
