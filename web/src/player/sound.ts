// SPDX-License-Identifier: MIT
// How long a frame of sound is, read from the init segment: a browser plays none before it has the whole of it, so what must be
// ahead of the shown picture grows with it (AAC at 8 kHz: 128 ms a frame, at 48 kHz 21).
import { SOUND, type Need } from './edge'

/** Samples in a frame of AAC (ISO/IEC 14496-3, 4.5.2.1.1). */
const AAC_SAMPLES = 1024
/** What SOUND was measured with. */
const USUAL_S = AAC_SAMPLES / 48_000

/** Seconds; 0 when there is no AAC in it, or no rate. */
export function soundFrame(init: Uint8Array): number {
  // An AudioSampleEntry (ISO/IEC 14496-12, 12.2.3): its type, 24 bytes, and the rate's whole part in 16 bits.
  for (let at = 4; at + 30 <= init.length; at += 1) {
    if (init[at] !== 0x6d || init[at + 1] !== 0x70 || init[at + 2] !== 0x34 || init[at + 3] !== 0x61) continue
    const rate = ((init[at + 28] as number) << 8) | (init[at + 29] as number)
    return rate > 0 ? AAC_SAMPLES / rate : 0
  }
  return 0
}

/** Twice what a frame is longer than usual: when a frame has just begun to play, the next is needed whole, and one is on its way. */
export function soundNeed(frame: number): Need {
  const more = Math.max(0, frame - USUAL_S) * 2
  return more === 0 ? SOUND : { ...SOUND, start: SOUND.start + more, min: SOUND.min + more, spare: SOUND.spare + more }
}
