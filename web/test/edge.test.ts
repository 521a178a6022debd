// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EdgeController, PICTURE, SOUND, stretches, TARGET_MAX_S, type Range } from '../src/player/edge'
import { soundFrame, soundNeed } from '../src/player/sound'

function at(edge: EdgeController, now: number, position: number, ...buffered: Range[]) {
  return edge.step({ now, position, buffered })
}

function joinedAt(position: number): EdgeController {
  const edge = new EdgeController(PICTURE)
  at(edge, 0, position, [0, position + PICTURE.start])
  return edge
}

test('nothing buffered asks for nothing', () => {
  assert.deepEqual(at(new EdgeController(PICTURE), 0, 0), { rate: 1 })
})

test('pictures alone begin where the backlog begins, and run through it', () => {
  const edge = new EdgeController(PICTURE)
  const order = at(edge, 0, 0, [10, 12])
  assert.deepEqual([order.why, order.seek], ['join', 10])
  const haste = at(edge, 0.02, 10, [10, 12])
  assert.equal(haste.seek, undefined)
  assert.equal(haste.rate, PICTURE.hasteMax)
})

test('with sound, or with a long backlog, the first picture is at the edge less the target', () => {
  for (const [need, start] of [[SOUND, 10], [PICTURE, 0]] as const) {
    const order = at(new EdgeController(need), 0, 0, [start, 12])
    assert.equal(order.why, 'join')
    assert.ok(Math.abs((order.seek ?? 0) - (12 - need.start)) < 1e-9)
  }
})

test('joining never seeks before what is buffered', () => {
  assert.equal(at(new EdgeController(PICTURE), 0, 0, [10, 10.02]).seek, 10)
})

test('it joins once', () => {
  const edge = joinedAt(5)
  assert.equal(at(edge, 0.1, 5, [0, 5.06]).seek, undefined)
})

test('far behind it jumps instead of running', () => {
  const order = at(joinedAt(5), 9, 5, [0, 7])
  assert.equal(order.why, 'behind')
  assert.ok(Math.abs((order.seek ?? 0) - (7 - PICTURE.start)) < 1e-9)
})

test('a little behind it plays faster, in proportion, and never wildly', () => {
  const near = at(joinedAt(5), 9, 5, [0, 5.2]).rate
  const far = at(joinedAt(5), 9, 5, [0, 6]).rate
  assert.ok(near > 1 && near < far)
  assert.equal(far, 1.5)
})

test('just joined it hurries more', () => {
  assert.ok(at(joinedAt(5), 0.1, 5, [0, 5.2]).rate > at(joinedAt(5), 9, 5, [0, 5.2]).rate)
  const sound = new EdgeController(SOUND)
  at(sound, 0, 5, [0, 5 + SOUND.start])
  assert.equal(at(sound, 0.1, 5, [0, 6.1]).rate, SOUND.hasteMax)
})

test('too close to the edge it plays slower', () => {
  const edge = joinedAt(5)
  for (let i = 0; i < 4; i += 1) edge.stalled(i)
  const { rate } = at(edge, 5, 5, [0, 5.02])
  assert.ok(rate < 1 && rate >= 0.92)
})

test('at the target the rate is exactly one', () => {
  assert.equal(at(joinedAt(5), 0.1, 5, [0, 4.99 + PICTURE.start]).rate, 1)
})

test('the low point of the last moments counts, not one sample', () => {
  const edge = joinedAt(5)
  at(edge, 0.1, 5, [0, 5 + PICTURE.start])
  // A frame came in just now: 40 ms more ahead, which is the saw's tooth and no reason to run.
  assert.equal(at(edge, 0.11, 5, [0, 5.04 + PICTURE.start]).rate, 1)
})

test('a hole ahead is skipped', () => {
  const order = at(joinedAt(5), 0.1, 5.06, [0, 5.06], [5.2, 5.4])
  assert.equal(order.why, 'gap')
  assert.ok(Math.abs((order.seek ?? 0) - 5.201) < 1e-9)
})

test('a position that was cut away moves to what is left', () => {
  assert.equal(at(joinedAt(5), 0.1, 5, [6, 6.2]).why, 'before')
})

test('running dry at the very end waits: there is nothing to skip to', () => {
  assert.equal(at(joinedAt(5), 0.1, 5.06, [0, 5.06]).seek, undefined)
})

test('each stall raises the target, up to a limit, and less while a join settles', () => {
  const joining = joinedAt(5)
  joining.stalled(1)
  const later = joinedAt(5)
  later.stalled(9)
  assert.ok(joining.target > PICTURE.start && later.target > joining.target)
  for (let i = 0; i < 100; i += 1) later.stalled(10 + i)
  assert.equal(later.target, TARGET_MAX_S)
})

test('with media to spare the target sinks to its limit; without, it stays', () => {
  const calm = joinedAt(5)
  for (let s = 3; s < 30; s += 0.1) at(calm, s, 5, [0, 5 + PICTURE.min])
  assert.ok(Math.abs(calm.target - PICTURE.min) < 1e-9)
  const tight = joinedAt(5)
  for (let i = 30; i < 300; i += 1) at(tight, i / 10, 5, [0, i % 20 === 0 ? 5.02 : 5 + PICTURE.min])
  assert.equal(tight.target, PICTURE.start)
})

test('after stalls it waits longer before it dares less', () => {
  const shaken = joinedAt(5)
  for (const when of [5, 6, 7]) shaken.stalled(when)
  const raised = shaken.target
  for (let s = 7.1; s < 38; s += 0.1) at(shaken, s, 5, [0, 5.2])
  assert.equal(shaken.target, raised)
  for (let s = 38; s < 60; s += 0.1) at(shaken, s, 5, [0, 5.2])
  assert.ok(shaken.target < raised)
})

test('a timeline with sound needs more ahead, and what was learnt on another is not its measure', () => {
  const edge = joinedAt(5)
  edge.rejoin(SOUND)
  assert.equal(edge.target, SOUND.start)
  at(edge, 0, 5, [0, 5 + SOUND.start])
  for (let s = 3; s < 60; s += 0.1) at(edge, s, 5, [0, 5 + SOUND.min])
  assert.ok(Math.abs(edge.target - SOUND.min) < 1e-9)
  edge.stalled(61)
  const learnt = edge.target
  edge.rejoin(SOUND)
  assert.equal(edge.target, learnt)
})

test('what is ahead of the lowest target is worked off once, then the pace is left alone within the slack', () => {
  const edge = new EdgeController(SOUND)
  let now = 0
  let ahead = SOUND.start
  /** For some seconds; each second the line gains `drift`. Returns at how many steps the pace was another than 1. */
  const run = (seconds: number, drift = 0): number => {
    let other = 0
    for (const until = now + seconds; now < until; now += 0.02) {
      const { rate } = at(edge, now, now, [0, now + ahead])
      ahead -= 0.02 * (rate - 1 - drift)
      if (rate !== 1) other += 1
    }
    return other
  }
  run(30)
  assert.ok(Math.abs(edge.target - SOUND.min) < 1e-9)
  assert.ok(edge.margin - SOUND.min > -1e-9 && edge.margin - SOUND.min <= SOUND.near + 1e-9, `margin ${edge.margin}`)
  ahead = SOUND.min + SOUND.slack - 0.001
  assert.equal(run(20), 0)
  assert.ok(run(20, 0.001) > 0)
  assert.ok(edge.margin < SOUND.min + SOUND.slack, `margin ${edge.margin}`)
})

test('close to the target the sound is not stretched, whichever way the pace goes; a backlog is', () => {
  const near = at(joinedAt(5), 9, 5, [0, 5.05 + PICTURE.start]).rate
  const slow = joinedAt(5)
  for (let i = 0; i < 4; i += 1) slow.stalled(i)
  const late = at(slow, 5, 5, [0, 5.02]).rate
  assert.ok(near > 1 && late < 1)
  assert.deepEqual([near, late, 1].map(stretches), [false, false, false])
  assert.equal(stretches(at(joinedAt(5), 9, 5, [0, 6]).rate), true)
})

test('after a rejoin the edge is sought again', () => {
  const edge = joinedAt(5)
  edge.rejoin()
  assert.equal(at(edge, 1, 5, [0, 5.5]).why, 'join')
})

test('a simulated minute of steady frames ends near the target without a jump', () => {
  const edge = new EdgeController(PICTURE)
  let position = 0
  let jumps = 0
  for (let now = 0; now < 60; now += 0.02) {
    const end = Math.floor(now / 0.04) * 0.04 + 1
    const order = at(edge, now, position, [0, end])
    if (order.seek !== undefined) {
      position = order.seek
      if (order.why !== 'join') jumps += 1
    }
    position = Math.min(end, position + 0.02 * order.rate)
  }
  assert.equal(jumps, 0)
  assert.ok(edge.margin < 0.11 && edge.margin > 0.02, `margin ${edge.margin}`)
})

test('what must be ahead grows with the length of a frame of sound', () => {
  const init = (rate: number): Uint8Array => {
    const box = new Uint8Array(64)
    box.set([...'mp4a'].map((c) => c.charCodeAt(0)), 20)
    box[48] = rate >> 8
    box[49] = rate & 255
    return box
  }
  assert.equal(soundFrame(init(8000)), 0.128)
  assert.equal(soundFrame(init(0)), 0)
  assert.equal(soundFrame(new Uint8Array(10)), 0)
  assert.equal(soundFrame(init(48_000).slice(0, 45)), 0)
  assert.deepEqual(soundNeed(soundFrame(init(48_000))), SOUND)
  assert.deepEqual(soundNeed(0), SOUND)
  assert.ok(soundNeed(0.128).min > SOUND.min + 0.2 && soundNeed(0.064).min > SOUND.min + 0.08)
})
