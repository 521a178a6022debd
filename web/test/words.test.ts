// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DICTIONARY } from '../src/base/dictionary'
import * as format from '../src/base/format'
import { format as fillIn, pickLang } from '../src/base/i18n'
import { REASONS, reasonIn } from '../src/base/reasons'
import { isLong } from '../src/chat/fold'
import { titleWith } from '../src/chat/unseen'
import { fingerprint, smallerPiece, worthRetrying } from '../src/files/transfer'
import { snapshotName } from '../src/player/snapshot'
import { backoff, readState } from '../src/player/live-socket'

declare const __SRC__: string

const entries = Object.entries(DICTIONARY)
const parameters = (text: string): string[] => [...new Set([...text.matchAll(/\{(\w+)/g)].map((m) => m[1] as string))].sort()

test('every word is there in both languages', () => {
  for (const [key, [en, zh]] of entries) {
    assert.ok(en.trim(), `${key} en`)
    assert.ok(zh.trim(), `${key} zh`)
    assert.ok(/[\u4e00-\u9fff]/.test(zh), `${key} is not Chinese: ${zh}`)
  }
})

test('both languages take the same parameters', () => {
  for (const [key, [en, zh]] of entries) assert.deepEqual(parameters(zh), parameters(en), key)
})

test('every word of the table is used somewhere', () => {
  const sources: string[] = []
  const walk = (folder: string): void => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      if (statSync(path).isDirectory()) walk(path)
      else if (name.endsWith('.ts') && name !== 'dictionary.ts') sources.push(readFileSync(path, 'utf8'))
    }
  }
  walk(__SRC__)
  const all = sources.join('\n')
  for (const [key] of entries) assert.ok(all.includes(`'${key}'`), `${key} is not used`)
})

test('a reason of ingest’s is Chinese on a Chinese page, and is still what ingest says', () => {
  const sources = ['source.c', 'source_av.c', 'source_rtsp.c', 'stream.h'].map((name) => readFileSync(join(__SRC__, '../../services/ingest', name), 'utf8'))
    .join('\n')
    .replace(/"\s*\n\s*"/g, '') // a sentence over several lines
  for (const [en, zh] of Object.entries(REASONS)) {
    assert.ok(sources.includes(`"${en}"`), `nobody says: ${en}`)
    assert.equal(reasonIn('zh', en), zh)
    assert.equal(reasonIn('en', en), en)
    assert.ok(parameters(zh).length === 0 && !/[a-z]{5}/.test(zh), zh)
    assert.deepEqual(zh.match(/%[a-z]+/g), en.match(/%[a-z]+/g), en)
  }
  assert.equal(reasonIn('zh', 'the camera answered SETUP with status 461'), '摄像机对 SETUP 的回应为状态 461')
  assert.equal(reasonIn('zh', 'no packet from the camera for 12 s'), '已有 12 秒没有收到摄像机的数据')
  assert.match(reasonIn('zh', 'the camera sends $& video, which this version does not carry: set the camera (or its substream) to H.264 or H.265'), /\$& 视频/)
  assert.equal(reasonIn('zh', 'something new'), 'something new')
})

test('parameters and plural forms are filled in', () => {
  assert.equal(fillIn('{n} {n:file|files} of {who}', { n: 1, who: 'Ann' }), '1 file of Ann')
  assert.equal(fillIn('{n} {n:file|files} of {who}', { n: 2, who: '' }), '2 files of ')
})

test('a parameter is never read as a pattern', () => {
  assert.equal(fillIn('{name}!', { name: '$& {n}' }), '$& {n}!')
})

test('the language is the query’s, else the choice, else the browser’s, else English', () => {
  assert.equal(pickLang('?lang=zh', 'en', ['en']), 'zh')
  assert.equal(pickLang('', 'zh', ['en']), 'zh')
  assert.equal(pickLang('', null, ['zh-TW', 'en']), 'zh')
  assert.equal(pickLang('', null, ['fr', 'zh-CN']), 'zh')
  assert.equal(pickLang('?lang=xx', null, ['fr']), 'en')
})

test('sizes are short and never say 1000', () => {
  assert.equal(format.size(0), '0 B')
  assert.equal(format.size(999), '999 B')
  assert.equal(format.size(1000), '1 KB')
  assert.equal(format.size(123456), '123 KB')
  assert.equal(format.size(999_999), '1 MB')
  assert.equal(format.size(1_500_000_000), '1.5 GB')
  assert.equal(format.size(-1), '–')
})

test('percent is 100 only at the end', () => {
  assert.equal(format.percent(999, 1000), 99)
  assert.equal(format.percent(1000, 1000), 100)
  assert.equal(format.percent(0, 0), 100)
})

test('only http and https become links, without the sentence’s full stop', () => {
  assert.deepEqual(format.linkify('see https://a.example/x?y=1. ok'), [{ text: 'see ' }, { text: 'https://a.example/x?y=1', href: 'https://a.example/x?y=1' }, { text: '. ok' }])
  assert.deepEqual(format.linkify('javascript:alert(1) <b>'), [{ text: 'javascript:alert(1) <b>' }])
  assert.equal(format.linkify('看 https://a.example，谢谢')[1]?.href, 'https://a.example')
})

test('a hostile text of full length is cut into links at once', () => {
  for (const hostile of [`https://a.example/${')'.repeat(64_000)}x`, 'https://'.repeat(8000), 'https://a.b/). '.repeat(4000)]) {
    const began = performance.now()
    format.linkify(hostile)
    assert.ok(performance.now() - began < 500, `${hostile.slice(0, 24)}… took ${performance.now() - began} ms`)
  }
})

test('a name keeps its colour', () => {
  assert.equal(format.hueOf('Ann', 8), format.hueOf('Ann', 8))
  assert.ok(format.hueOf('', 8) < 8)
})

test('the first letter is a whole character', () => {
  assert.equal(format.initial(' 林晓'), '林')
  assert.equal(format.initial('😀x'), '😀')
  assert.equal(format.initial(''), '?')
})

test('long ago is told in the largest unit', () => {
  assert.equal(format.ago(0, 3 * 3600_000, 'en'), '3 hours ago')
  assert.equal(format.ago(1000, 1000, 'en'), 'now')
  assert.equal(format.ago(5000, 1000, 'en'), 'now')
})

test('the same file in two rooms is two uploads; a changed file is another', () => {
  const file = { name: 'a b/c', size: 1, type: '', lastModified: 5 }
  assert.notEqual(fingerprint(file, 'x'), fingerprint(file, 'y'))
  assert.notEqual(fingerprint(file, 'x'), fingerprint({ ...file, lastModified: 6 }, 'x'))
  assert.notEqual(fingerprint({ ...file, name: 'a' }, 'b/c'), fingerprint({ ...file, name: 'c/a' }, 'b'))
})

test('an upload is tried again when that can help', () => {
  for (const status of [0, 409, 423, 429, 500, 503]) assert.ok(worthRetrying(status), String(status))
  for (const status of [400, 403, 404, 410, 413, 415]) assert.ok(!worthRetrying(status), String(status))
})

test('back-off grows to a limit and is never at once', () => {
  assert.ok(backoff(0, 0) >= 200)
  assert.ok(backoff(3, 0.5) > backoff(1, 0.5))
  assert.equal(backoff(50, 0.5), 8000)
})

test('snapshots sort by time', () => {
  assert.equal(snapshotName('demo', new Date(2026, 10, 3, 4, 5, 6)), 'demo-2026-11-03-040506.png')
})

test('what the live door tells of its source is read, and nothing else is', () => {
  assert.deepEqual(readState('{"state":"retrying","reason":"no route"}'), { state: 'retrying', reason: 'no route' })
  assert.deepEqual(readState('{"state":"live"}'), { state: 'live', reason: '' })
  for (const text of ['{', '{}', 'null', '[]']) assert.equal(readState(text), null, text)
})

test('a reason ends its sentence with its own mark, or gets one', () => {
  assert.equal(fillIn('{reason.} The server keeps trying.', { reason: 'is it starting?' }), 'is it starting? The server keeps trying.')
  assert.equal(fillIn('{reason.} Next.', { reason: 'no route' }), 'no route. Next.')
  assert.equal(fillIn('{reason。}下一句', { reason: '没有路由' }), '没有路由。下一句')
  for (const [key, [en, zh]] of entries) {
    assert.ok(!/\{reason\}[.]/.test(en) && !/\{reason\}。/.test(zh), `${key}: write {reason.}, a reason may bring its own mark`)
  }
})

test('a piece that a proxy refuses is halved, down to what makes sense', () => {
  assert.equal(smallerPiece(Infinity, 1e9), 8 * 1024 * 1024)
  assert.equal(smallerPiece(Infinity, 1_000_000), 500_000)
  assert.equal(smallerPiece(1024 * 1024, 1e9), 512 * 1024)
  assert.equal(smallerPiece(100_000, 1e9), 0)
})

test('only long messages fold', () => {
  assert.equal(isLong('short'), false)
  assert.equal(isLong('x'.repeat(1201)), true)
  assert.equal(isLong('\n'.repeat(15)), false)
  assert.equal(isLong('\n'.repeat(16)), true)
})

test('the title counts what nobody has seen, and no more than a tab can show', () => {
  assert.equal(titleWith(0, 'hall'), 'hall')
  assert.equal(titleWith(3, 'hall'), '(3) hall')
  assert.equal(titleWith(100, 'hall'), '(99+) hall')
})
