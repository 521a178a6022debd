// SPDX-License-Identifier: MIT
// The unmodified `centrifuge` package: two people, everything that a chat needs. Prints one JSON line with what it saw.
//   centrifuge_chat.mjs URL-A URL-B ROOM
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const [, , urlA, urlB, room] = process.argv;
const open = (url, name) => new Centrifuge(url, { websocket: WebSocket, data: { name } });
const once = (emitter, event) => new Promise((done) => emitter.once(event, done));

const seen = { pubs: [], joins: [], leaves: [], states: [] };
const ann = open(urlA, 'Ann');
const bob = open(urlB, 'Bob');
ann.on('state', (c) => seen.states.push(c.newState));
const annSub = ann.newSubscription(room, { recoverable: true, positioned: true, joinLeave: true });
const bobSub = bob.newSubscription(room, { recoverable: true, positioned: true, joinLeave: true });
let wake = () => {};
const until = async (check) => {
  while (!check()) await new Promise((done) => { wake = done; });
};
annSub.on('publication', (c) => { seen.pubs.push({ offset: c.offset, data: c.data, info: c.info }); wake(); });
annSub.on('join', (c) => { seen.joins.push(c.info.connInfo?.name); wake(); });
annSub.on('leave', (c) => { seen.leaves.push(c.info.connInfo?.name); wake(); });

const annUp = once(annSub, 'subscribed');
annSub.subscribe();
ann.connect();
const subscribed = await annUp;
const bobUp = once(bobSub, 'subscribed');
bobSub.subscribe();
bob.connect();
await bobUp;

// A batch: these leave in one frame.
await Promise.all(['one', 'two', 'three'].map((text) => bobSub.publish({ text, name: 'Bob', id: `${room}-${text}` })));
await annSub.publish({ text: 'four', nested: { a: [1, 2, { b: null }] }, utf8: '早 🌞', newline: 'a\nb' });
await until(() => seen.pubs.length >= 4);
await until(() => seen.joins.includes('Bob'));

let presence = await annSub.presence();
// Bob entered by another gateway, moments ago.
while (Object.keys(presence.clients).length < 2) presence = await annSub.presence();
const stats = await annSub.presenceStats();
const history = await annSub.history({ limit: 10 });
const page = await annSub.history({ limit: 2, since: { offset: history.publications[0].offset, epoch: history.epoch } });
const reverse = await annSub.history({ limit: 2, reverse: true });
const top = await annSub.history({ limit: 0 });
const fails = async (call) => { try { await call(); return 0; } catch (e) { return e.code; } };
const errors = {
  rpc: await fails(() => ann.rpc('no.such', {})),
  history_epoch: await fails(() => annSub.history({ limit: 1, since: { offset: 1, epoch: 'elsewher' } })),
};

bob.disconnect();
await until(() => seen.leaves.includes('Bob'));
await annSub.unsubscribe();
ann.disconnect();
console.log(JSON.stringify({
  ...seen, subscribed: { recoverable: subscribed.recoverable, positioned: subscribed.positioned, position: subscribed.streamPosition },
  presence: Object.values(presence.clients).map((c) => c.connInfo?.name).sort(), stats, errors,
  history: history.publications.map((p) => p.offset), texts: history.publications.map((p) => p.data.text),
  page: page.publications.map((p) => p.offset), reverse: reverse.publications.map((p) => p.offset),
  top: { offset: top.offset, epoch: top.epoch, n: top.publications.length },
}));
