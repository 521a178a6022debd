// SPDX-License-Identifier: MIT
// Staying at the live edge, as arithmetic: given what is buffered and where playback stands, it says where to seek and how
// fast to play. No clock, no element: the caller brings both, so every rule is a unit test.
//
// The safety margin that matters is the lowest distance to the edge within the last moments, because the distance itself saws
// up and down by one frame. The margin is steered to a target. A stall raises the target; then, when it has been quiet for a
// while, the target sinks for as long as even the worst moment of the last seconds had some media to spare.

export type Range = readonly [start: number, end: number]

export interface EdgeInput {
  /** Any steady clock, in seconds. */
  now: number
  position: number
  buffered: readonly Range[]
}

export interface EdgeOrder {
  seek?: number
  rate: number
  why?: 'join' | 'behind' | 'gap' | 'before'
}

/** What a timeline needs ahead of the shown picture, in seconds. */
export interface Need {
  /** The target to begin with, and the lowest that it may sink to. */
  start: number
  min: number
  /** What the worst moment of the last seconds must have had left for the target to sink. */
  spare: number
  /** Just joined, the backlog of the group is worked off at once: nobody has got used to the pace yet. */
  hasteMax: number
  /** What may be ahead beyond the target before the pace changes: delay, but each other pace takes its toll of sound. */
  slack: number
  /** Another pace ends this close to the target: closer, it would itself be what runs the sound dry. */
  near: number
  /** A backlog up to this many seconds is played through in haste: its first picture is there before its last is decoded. */
  playThrough: number
}

/**
 * Pictures alone play as they come. Chromium runs dry with 30 ms ahead, the last frame it has; what is above that is for
 * moments in which a machine does something else: 60 ms of it, since a stall is seen by everybody and 30 ms more by nobody.
 */
export const PICTURE: Need = { start: 0.1, min: 0.09, spare: 0.07, hasteMax: 16, slack: 0.012, near: 0.01, playThrough: 4 }
/**
 * With sound a browser holds some tens of milliseconds in the output and begins only with 200 ms in hand: Chromium runs dry
 * with 80 ms ahead. Paces close to 1 do not stretch the sound, which would take more.
 */
export const SOUND: Need = { start: 0.2, min: 0.11, spare: 0.1, hasteMax: 2, slack: 0.02, near: 0.014, playThrough: 0 }
export const TARGET_MAX_S = 1.2
const TARGET_STEP_S = 0.05
const TARGET_JOIN_STEP_S = 0.02
const SHRINK_STEP_S = 0.01
const SHRINK_EVERY_S = 0.5
/** How long it must be quiet after a stall before the target may sink; doubled by each stall. */
const QUIET_S = 4
const QUIET_MAX_S = 60
const WINDOW_S = 0.6
const LONG_WINDOW_S = 4
const TOLERANCE_S = 0.03
/** Farther behind than this, a jump is kinder than minutes of fast talk. */
const JUMP_S = 1.5
const RATE_MAX = 1.5
const RATE_MIN = 0.92
const HASTE_S = 3
const HASTE_GAIN = 12

export class EdgeController {
  target: number
  /** Distance to the edge now, and its lowest value in the window. */
  gap = 0
  margin = 0
  private joined = false
  private rate = 1
  private samples: { at: number; gap: number }[] = []
  private quiet = QUIET_S
  private sinkAt = 0
  private joinedAt = 0
  /** Brought close to the target that stays: from then on the pace is left alone within the slack. */
  private settled = true

  constructor(private need: Need) {
    this.target = need.start
  }

  /** Playback ran dry. While the join settles, that says little about the line. */
  stalled(now: number): void {
    const settling = now - this.joinedAt < HASTE_S
    this.target = Math.min(TARGET_MAX_S, this.target + (settling ? TARGET_JOIN_STEP_S : TARGET_STEP_S))
    if (!settling) this.quiet = Math.min(QUIET_MAX_S, this.quiet * 2)
    this.sinkAt = now + this.quiet
    this.samples = []
  }

  /** A new timeline, or the page comes back from the background: go to the edge once. */
  rejoin(need = this.need): void {
    if (need !== this.need) this.target = need.start
    this.need = need
    this.joined = false
    this.samples = []
    this.rate = 1
  }

  step(input: EdgeInput): EdgeOrder {
    const last = input.buffered[input.buffered.length - 1]
    if (!last) return { rate: 1 }
    this.gap = last[1] - input.position
    if (!this.joined) return this.join(last, input.now)
    const order = this.repair(input, last)
    if (order) return order
    this.measure(input.now)
    this.shrink(input.now)
    return { rate: this.steer(input.now - this.joinedAt < HASTE_S) }
  }

  private join(last: Range, now: number): EdgeOrder {
    this.joined = true
    this.joinedAt = now
    this.samples = []
    const backlog = last[1] - last[0]
    return this.jump(backlog <= this.need.playThrough ? last[0] : Math.max(last[0], last[1] - this.target), 'join')
  }

  private jump(seek: number, why: EdgeOrder['why']): EdgeOrder {
    this.samples = []
    this.rate = 1
    return { seek, rate: 1, why }
  }

  private repair(input: EdgeInput, last: Range): EdgeOrder | null {
    const { position, buffered } = input
    const far = input.now - this.joinedAt < HASTE_S ? Math.max(JUMP_S, this.need.playThrough) : JUMP_S
    if (this.gap > Math.max(far, this.target + 1)) return this.jump(Math.max(last[0], last[1] - this.target), 'behind')
    const inside = buffered.some(([start, end]) => position >= start - TOLERANCE_S && position < end - 0.001)
    if (inside) return null
    const next = buffered.find(([start]) => start > position)
    return next ? this.jump(next[0] + 0.001, position < (buffered[0] as Range)[0] ? 'before' : 'gap') : null
  }

  private measure(now: number): void {
    this.samples.push({ at: now, gap: this.gap })
    while ((this.samples[0] as { at: number }).at < now - LONG_WINDOW_S) this.samples.shift()
    this.margin = this.lowest(now - WINDOW_S)
  }

  private lowest(since: number): number {
    let low = Infinity
    for (let i = this.samples.length - 1; i >= 0 && (this.samples[i] as { at: number }).at >= since; i -= 1) low = Math.min(low, (this.samples[i] as { gap: number }).gap)
    return low
  }

  private shrink(now: number): void {
    if (now < this.sinkAt || now - this.joinedAt < QUIET_S) return
    this.sinkAt = now + SHRINK_EVERY_S
    if (this.target === this.need.min || this.lowest(now - LONG_WINDOW_S) <= this.need.spare) return
    this.target = Math.max(this.need.min, this.target - SHRINK_STEP_S)
    if (this.target === this.need.min) this.settled = false
  }

  /** Proportional, in steps of 0.02, with a dead band: changing the rate at every frame is audible. */
  private steer(haste: boolean): number {
    const off = this.margin - this.target
    const calm = this.rate === 1
    if (off >= (calm ? -0.02 : -0.008) && off <= (calm && this.settled ? this.need.slack : this.need.near)) {
      this.settled ||= off <= this.need.near
      this.rate = 1
    } else if (off > 0) this.rate = Math.min(haste ? this.need.hasteMax : RATE_MAX, 1.02 + steps(haste ? off * HASTE_GAIN : off))
    else this.rate = Math.max(RATE_MIN, 0.98 + steps(off))
    return this.rate
  }
}

/**
 * Must sound be stretched at this pace, so that its pitch stays? To stretch it Chromium looks some 50 ms ahead, and runs dry
 * with 140 ms in hand, for most of a second. A pace this close to 1 is heard by few, and lasts for some seconds.
 */
export function stretches(rate: number): boolean {
  return Math.abs(rate - 1) > 0.081
}

function steps(value: number): number {
  return Math.round(value * 50) / 50
}
