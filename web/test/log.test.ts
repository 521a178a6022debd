// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readEntry, safeFileUrl } from '../src/chat/entry'
import { RoomLog } from '../src/chat/log'
import { Members } from '../src/chat/members'
import { stampsOf } from '../src/chat/timed-socket'

const entry = (offset: number, id = '', text = `n${offset}`) => readEntry({ offset, data: { text, id } }, 1000 + offset)

test('entries are in the order of their offsets, however they come', () => {
  const log = new RoomLog()
  for (const offset of [3, 1, 2, 5, 4]) log.add(entry(offset))
  assert.deepEqual(log.all.map((e) => e.offset), [1, 2, 3, 4, 5])
  assert.equal(log.oldest, 1)
})

test('the same offset twice is one entry', () => {
  const log = new RoomLog()
  assert.equal(log.add(entry(1)), true)
  assert.equal(log.add(entry(1)), false)
  assert.equal(log.all.length, 1)
})

test('a message that was sent again is shown once, at its first place', () => {
  const log = new RoomLog()
  log.add(entry(4, 'message x', 'hi'))
  log.add(entry(7, 'message x', 'hi'))
  assert.deepEqual(log.all.map((e) => e.offset), [4])
  const backwards = new RoomLog()
  backwards.add(entry(7, 'message x', 'hi'))
  backwards.add(entry(4, 'message x', 'hi'))
  assert.deepEqual(backwards.all.map((e) => e.offset), [4])
})

test('one id with other words is another message', () => {
  const log = new RoomLog()
  log.add(entry(4, 'message x', 'hi'))
  log.add(entry(7, 'message x', 'there'))
  assert.deepEqual(log.all.map((e) => e.offset), [4, 7])
})

test('what is too short or too long for an id of the server’s is none: a bot’s counter starts again', () => {
  for (const id of ['1', 'seven__', 'x'.repeat(129)]) {
    const log = new RoomLog()
    log.add(entry(1, id, 'hi'))
    log.add(entry(2, id, 'hi'))
    assert.deepEqual(log.all.map((e) => e.offset), [1, 2], id)
  }
})

test('entries without an offset are kept in order of arrival', () => {
  const log = new RoomLog()
  for (let i = 0; i < 3; i += 1) log.add(readEntry({ data: { text: String(i) } }, 0))
  assert.deepEqual(log.all.map((e) => e.text), ['0', '1', '2'])
})

test('what is trimmed is forgotten and can be added again', () => {
  const log = new RoomLog()
  for (let offset = 1; offset <= 5; offset += 1) log.add(entry(offset, `message ${offset}`))
  assert.equal(log.trim(5), false)
  assert.equal(log.trim(2), true)
  assert.deepEqual(log.all.map((e) => e.offset), [4, 5])
  assert.equal(log.oldest, 4)
  assert.equal(log.add(entry(5, 'message 5')), false)
  for (const offset of [3, 2]) assert.equal(log.add(entry(offset, `message ${offset}`)), true)
  assert.deepEqual(log.all.map((e) => e.offset), [2, 3, 4, 5])
  assert.equal(log.oldest, 2)
})

test('a new epoch starts an empty log', () => {
  const log = new RoomLog()
  log.add(entry(9, 'message a'))
  log.reset('other')
  assert.equal(log.add(entry(1, 'message a')), true)
  assert.equal(log.oldest, 1)
})

test('a line of the text codec is a text entry without a name', () => {
  const { kind, text, name } = readEntry({ offset: 1, data: { text: 'hi' } }, 0)
  assert.deepEqual({ kind, text, name }, { kind: 'text', text: 'hi', name: '' })
})

test('the name of the connection stands in for a missing one', () => {
  assert.equal(readEntry({ offset: 1, data: { text: 'hi' }, info: { client: 'c', connInfo: { name: 'Ann' } } }, 0).name, 'Ann')
})

test('data of any shape is read without throwing and shown as data', () => {
  for (const data of [null, undefined, 7, 'text', [], {}, { text: 5 }, { type: 'file' }, { type: 'file', file: { url: 'https://elsewhere/x' } }]) {
    assert.equal(readEntry({ offset: 1, data }, 0).kind, 'other', JSON.stringify(data))
  }
})

test('a file entry is read with safe defaults', () => {
  const data = { type: 'file', name: 'Ann', file: { id: 'a1', name: 'a.pdf', size: 123, type: 'application/pdf', sha256: 'ff', url: '/files/a1' } }
  const read = readEntry({ offset: 1, data, tags: { kind: 'file' } }, 0)
  assert.equal(read.kind, 'file')
  assert.equal(read.file?.size, 123)
  assert.equal(readEntry({ offset: 1, data }, 0).kind, 'other', 'what a client published only looks like one')
})

test('only the server’s own file paths become links', () => {
  assert.equal(safeFileUrl('/files/abc-1_2.~'), '/files/abc-1_2.~')
  for (const bad of ['javascript:alert(1)', '//evil.example/files/x', 'https://evil.example/files/x', '/files/../api', '/files/a/b', '/files/', '']) assert.equal(safeFileUrl(bad), '', bad)
})

test('times are found in pushes, recovered publications and history', () => {
  const frame = ['{"push":{"channel":"r","pub":{"data":{"time":1},"offset":3,"time":30}}}', '{"id":2,"subscribe":{"publications":[{"offset":4,"time":40}]}}', '{"id":3,"history":{"publications":[{"offset":5,"time":50}]}}', '{}', 'not json "time"'].join('\n')
  assert.deepEqual(stampsOf(frame), [[3, 30], [4, 40], [5, 50]])
})

test('members follow presence, join and leave; nameless ones come last', () => {
  const members = new Members()
  members.replace({ a: { client: 'a' }, b: { client: 'b', connInfo: { name: 'Bo' } } })
  members.join({ client: 'c', connInfo: { name: 'Al' } })
  assert.deepEqual(members.list().map((m) => m.name), ['Al', 'Bo', ''])
  members.leave({ client: 'b' })
  assert.equal(members.count, 2)
})
