// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Outbox, type Outgoing } from '../src/chat/outbox'

const message = (id: string): Outgoing => ({ id, text: `text ${id}`, name: 'Ann' })
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i += 1) await Promise.resolve()
}

function setup(answer: (m: Outgoing, n: number) => Promise<unknown>) {
  const sent: string[] = []
  const timers: (() => void)[] = []
  const box = new Outbox(
    (m) => {
      sent.push(m.id)
      return answer(m, sent.length)
    },
    () => undefined,
    (_ms, run) => timers.push(run),
  )
  return { box, sent, timers, states: () => box.pending.map((item) => `${item.id}:${item.state}`) }
}

test('nothing is sent before the room is live', async () => {
  const { box, sent, states } = setup(async () => undefined)
  box.add(message('a'))
  await settle()
  assert.deepEqual(sent, [])
  assert.deepEqual(states(), ['a:waiting'])
})

test('messages go out in order, one after the other', async () => {
  const { box, sent } = setup(async () => undefined)
  box.add(message('a'))
  box.add(message('b'))
  box.setOnline(true)
  await settle()
  assert.deepEqual(sent, ['a', 'b'])
})

test('an acknowledged message stays until the log shows it', async () => {
  const { box, states } = setup(async () => undefined)
  box.setOnline(true)
  box.add(message('a'))
  await settle()
  assert.deepEqual(states(), ['a:sent'])
  box.seen('a')
  assert.deepEqual(states(), [])
})

test('cut before the answer and not in the log: it goes again, once', async () => {
  const { box, sent, states } = setup((_m, n) => (n === 1 ? new Promise((_ok, no) => setTimeout(() => no({ code: 2 }), 5)) : Promise.resolve()))
  box.setOnline(true)
  box.add(message('a'))
  await settle()
  box.setOnline(false)
  await new Promise((resolve) => setTimeout(resolve, 10))
  assert.deepEqual(states(), ['a:waiting'])
  box.setOnline(true)
  await settle()
  assert.deepEqual(sent, ['a', 'a'])
  assert.deepEqual(states(), ['a:sent'])
})

test('cut before the answer but found in the log: it does not go again', async () => {
  const { box, sent } = setup(() => new Promise((_ok, no) => setTimeout(() => no({ code: 2 }), 5)))
  box.setOnline(true)
  box.add(message('a'))
  await settle()
  box.setOnline(false)
  await new Promise((resolve) => setTimeout(resolve, 10))
  box.seen('a')
  box.setOnline(true)
  await settle()
  assert.deepEqual(sent, ['a'])
  assert.equal(box.pending.length, 0)
})

test('a refusal fails the message with its words and lets the next one through', async () => {
  const { box, states } = setup((m) => (m.id === 'a' ? Promise.reject({ code: 107, message: 'bad request' }) : Promise.resolve()))
  box.setOnline(true)
  box.add(message('a'))
  box.add(message('b'))
  await settle()
  assert.deepEqual(states(), ['a:failed', 'b:sent'])
  assert.equal(box.pending[0]?.reason, 'bad request')
})

test('a failed message can be tried again or dropped', async () => {
  let refuse = true
  const { box, states } = setup(() => (refuse ? Promise.reject({ code: 107, message: 'no' }) : Promise.resolve()))
  box.setOnline(true)
  box.add(message('a'))
  box.add(message('b'))
  await settle()
  refuse = false
  box.retry('a')
  box.discard('b')
  await settle()
  assert.deepEqual(states(), ['a:sent'])
})

test('a temporary error is tried again later, and given up after a few times', async () => {
  const { box, sent, timers, states } = setup(() => Promise.reject({ code: 100, message: 'internal server error', temporary: true }))
  box.setOnline(true)
  box.add(message('a'))
  await settle()
  while (timers.length) {
    timers.shift()?.()
    await settle()
  }
  assert.deepEqual(states(), ['a:failed'])
  assert.equal(sent.length, 4)
})
