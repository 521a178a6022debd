// SPDX-License-Identifier: MIT
// The last picture of each stream, kept in this browser: a camera that rests is known by how it looked. Small, and only of as
// many as the lobby shows pictures of.
import { recall, remember } from '../base/prefs'

const WIDTH = 320
const KEPT_MAX = 24
const INDEX = 'stills'

interface Still {
  at: number
  url: string
}

function index(): string[] {
  try {
    const names: unknown = JSON.parse(recall(INDEX) ?? '[]')
    return Array.isArray(names) ? names.filter((one): one is string => typeof one === 'string') : []
  } catch {
    return []
  }
}

export function keepStill(stream: string, picture: HTMLCanvasElement): void {
  const small = document.createElement('canvas')
  small.width = WIDTH
  small.height = Math.round((WIDTH * picture.height) / Math.max(1, picture.width)) || 1
  small.getContext('2d')?.drawImage(picture, 0, 0, small.width, small.height)
  const names = [stream, ...index().filter((name) => name !== stream)]
  for (const old of names.splice(KEPT_MAX)) remember(`still.${old}`, null)
  remember(INDEX, JSON.stringify(names))
  remember(`still.${stream}`, JSON.stringify({ at: Date.now(), url: small.toDataURL('image/jpeg', 0.6) } satisfies Still))
}

/** Paints it; when it was taken, 0 when there is none. */
export async function recallStill(stream: string, canvas: HTMLCanvasElement): Promise<number> {
  try {
    const still = JSON.parse(recall(`still.${stream}`) ?? 'null') as Partial<Still> | null
    if (typeof still?.at !== 'number' || !still.url?.startsWith('data:image/jpeg;base64,')) return 0
    const image = new Image()
    image.src = still.url
    await image.decode()
    canvas.width = image.naturalWidth
    canvas.height = image.naturalHeight
    canvas.getContext('2d')?.drawImage(image, 0, 0)
    return still.at
  } catch {
    return 0
  }
}
