// SPDX-License-Identifier: MIT
// The shown picture as a PNG file, in the source's full size.

export function snapshotName(stream: string, when: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0')
  const day = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`
  return `${stream}-${day}-${two(when.getHours())}${two(when.getMinutes())}${two(when.getSeconds())}.png`
}

export function draw(video: HTMLVideoElement, canvas: HTMLCanvasElement): boolean {
  if (!video.videoWidth || video.readyState < 2) return false
  canvas.width = video.videoWidth
  canvas.height = video.videoHeight
  canvas.getContext('2d')?.drawImage(video, 0, 0)
  return true
}

export async function snapshot(video: HTMLVideoElement, stream: string): Promise<string | null> {
  const canvas = document.createElement('canvas')
  if (!draw(video, canvas)) return null
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'))
  if (!blob) return null
  const link = document.createElement('a')
  link.download = snapshotName(stream, new Date())
  link.href = URL.createObjectURL(blob)
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
  return link.download
}
