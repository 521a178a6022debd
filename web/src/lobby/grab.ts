// SPDX-License-Identifier: MIT
// One picture of a live stream for the lobby, by the same door as the player: open, wait for the first frame, close.
import { Feed, canPlay } from '../player/feed'
import { LiveSocket } from '../player/live-socket'

const LIMIT_MS = 6000
const WIDTH = 640

export function grab(stream: string, canvas: HTMLCanvasElement): Promise<boolean> {
  return new Promise((resolve) => {
    const video = document.createElement('video')
    video.muted = true
    video.playsInline = true
    let feed: Feed | null = null
    const socket = new LiveSocket(stream, {
      mime: (type) => {
        feed?.close()
        if (!canPlay(type)) return end(false)
        feed = new Feed(video, { appended: () => (forward(video), look()), failed: () => end(false) })
        feed.begin(type)
      },
      source: () => undefined,
      media: (data) => feed?.push(data),
      down: () => end(false),
    })
    const timer = setTimeout(() => end(false), LIMIT_MS)
    let ended = false

    function end(ok: boolean): void {
      if (ended) return
      ended = true
      clearTimeout(timer)
      socket.stop()
      feed?.close()
      resolve(ok)
    }

    function look(): void {
      if (!ended && video.currentTime > 0 && !video.seeking && paint(video, canvas)) end(true)
    }

    video.addEventListener('seeked', look)
    video.addEventListener('canplay', look)
    socket.start()
  })
}

/** The newest picture that is buffered, not the oldest: seek once, then paint. */
function forward(video: HTMLVideoElement): void {
  const { buffered } = video
  if (buffered.length === 0 || video.seeking || video.currentTime > 0) return
  const last = buffered.length - 1
  video.currentTime = Math.max(buffered.start(last) + 0.001, buffered.end(last) - 0.05)
}

/** False when there is no frame to draw yet: then nothing was drawn, and what the canvas had stays. */
function paint(video: HTMLVideoElement, canvas: HTMLCanvasElement): boolean {
  const fresh = document.createElement('canvas')
  fresh.width = WIDTH
  fresh.height = Math.round((WIDTH * video.videoHeight) / Math.max(1, video.videoWidth)) || 1
  const pen = fresh.getContext('2d')
  pen?.drawImage(video, 0, 0, fresh.width, fresh.height)
  if (!pen?.getImageData(WIDTH / 2, fresh.height >> 1, 1, 1).data[3]) return false
  canvas.width = fresh.width
  canvas.height = fresh.height
  canvas.getContext('2d')?.drawImage(fresh, 0, 0)
  return true
}
