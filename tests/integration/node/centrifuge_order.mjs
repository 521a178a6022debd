// SPDX-License-Identifier: MIT
// The unmodified `centrifuge` package: who subscribes and publishes without waiting in between hears himself. Prints one JSON
// line with how many of the rooms were heard, one after the other and with batching.
//   centrifuge_order.mjs URL ROOM COUNT
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const [, , url, room, count] = process.argv;
const client = new Centrifuge(url, { websocket: WebSocket });
const connected = new Promise((done) => client.once('connected', done));
client.connect();
await connected;

const heard = { plain: 0, batched: 0 };
for (const way of Object.keys(heard)) {
  for (let i = 0; i < Number(count); i++) {
    const sub = client.newSubscription(`${room}-${way}-${i}`);
    const own = new Promise((done) => sub.once('publication', done));
    if (way === 'batched') client.startBatching();
    sub.subscribe();
    const published = client.publish(sub.channel, { n: i });
    if (way === 'batched') client.stopBatching();
    await published;
    const late = setTimeout(() => { console.error(`${sub.channel}: his own message did not come`); process.exit(1); }, 10000);
    await own;
    clearTimeout(late);
    heard[way]++;
    sub.unsubscribe();
  }
}
client.disconnect();
console.log(JSON.stringify(heard));
