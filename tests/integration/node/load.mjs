// SPDX-License-Identifier: MIT
// People who talk all the time and come back by themselves: the unmodified `centrifuge` package.
//   load.mjs ROOM CLIENTS URL...        (client i uses URL i modulo their number)
// Each publishes one message after the other; one whose acknowledgement did not come is sent again with the same id.
// Standard input: "status" prints {"acked":[..],"received":[..]} (counts by client), "stop" ends with everything it knows.
import { Centrifuge } from 'centrifuge';
import readline from 'node:readline';
import WebSocket from 'ws';

const [, , room, count, ...urls] = process.argv;
const clients = [];
let stopping = false;

class Person {
  constructor(i) {
    this.acked = [];
    this.seen = [];
    this.notRecovered = 0;
    this.retries = 0;
    this.client = new Centrifuge(urls[i % urls.length], {
      websocket: WebSocket, data: { name: `p${i}` }, minReconnectDelay: 20, maxReconnectDelay: 300, timeout: 3000,
    });
    this.sub = this.client.newSubscription(room, { recoverable: true, positioned: true, minResubscribeDelay: 20, maxResubscribeDelay: 300 });
    this.epochs = []; // of each one seen
    this.sub.on('publication', (c) => { this.seen.push([c.offset, c.data.id]); this.epochs.push(this.epoch); });
    this.sub.on('subscribed', (c) => { this.epoch = c.streamPosition.epoch; if (c.wasRecovering && !c.recovered) this.notRecovered++; });
    this.sub.subscribe();
    this.client.connect();
    this.done = this.talk(i);
  }

  async talk(i) {
    await this.sub.ready();
    for (let n = 0; !stopping; n++) {
      const id = `${room}-p${i}-${String(n).padStart(6, '0')}`;
      for (;;) {
        try {
          await this.sub.ready();
          await this.sub.publish({ text: `message ${n} of ${i}`, name: `p${i}`, id });
          this.acked.push(id);
          break;
        } catch {
          this.retries++;
          if (stopping) return;
          await new Promise((again) => { setTimeout(again, 20); });
        }
      }
      await new Promise((next) => { setTimeout(next, 25); });
    }
  }
}

for (let i = 0; i < Number(count); i++) clients.push(new Person(i));
for await (const line of readline.createInterface({ input: process.stdin })) {
  if (line === 'status') {
    console.log(JSON.stringify({ acked: clients.map((c) => c.acked.length), received: clients.map((c) => c.seen.length) }));
  } else if (line === 'stop') {
    stopping = true;
    await Promise.all(clients.map((c) => c.done));
    // What was acknowledged last is still on its way to the others: everybody has it when all saw the newest offset.
    const newest = () => Math.max(...clients.map((c) => c.seen.length ? c.seen[c.seen.length - 1][0] : 0));
    const end = Date.now() + 10000;
    while (Date.now() < end && clients.some((c) => !c.seen.length || c.seen[c.seen.length - 1][0] < newest())) {
      await new Promise((next) => { setTimeout(next, 20); });
    }
    console.log(JSON.stringify(clients.map((c) => ({
      acked: c.acked, seen: c.seen, epochs: c.epochs, notRecovered: c.notRecovered, retries: c.retries, state: c.client.state,
    }))));
    break;
  }
}
// A pipe takes 64 KiB at once: leaving before the rest is read would cut the answer.
process.stdout.write("", () => process.exit(0));
