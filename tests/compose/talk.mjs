// SPDX-License-Identifier: MIT
// The centrifuge-js SDK as a person in a room: lines of standard input are said, what is heard is printed.
//   node talk.mjs ws://127.0.0.1:8080/connection/websocket ROOM NAME
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(new URL('../integration/node/package.json', import.meta.url))
const { Centrifuge } = require('centrifuge')
const WebSocket = require('ws')

const [url, room, name] = process.argv.slice(2)
const client = new Centrifuge(url, { websocket: WebSocket, data: { name } })
const subscription = client.newSubscription(room, { recoverable: true, positioned: true })
subscription.on('subscribed', () => console.log('ready'))
subscription.on('publication', ({ data }) => console.log(`heard ${data.text}`))
subscription.on('error', ({ error }) => console.log(`error ${error.code} ${error.message}`))
client.on('error', ({ error }) => console.log(`error ${error.code} ${error.message}`))
subscription.subscribe()
client.connect()

for await (const text of createInterface({ input: process.stdin })) {
  await subscription.publish({ text, name })
  console.log(`said ${text}`)
}
client.disconnect()
