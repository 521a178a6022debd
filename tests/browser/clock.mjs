// SPDX-License-Identifier: MIT
// The clock in the demo picture: 32 blocks of 20 pixels along the top edge, most significant bit first, are the wall
// clock's milliseconds when the picture was drawn. Read as a frame is presented, it says how old the picture on the screen is.

export const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]

/**
 * Starts collecting window.clockAges, the age in milliseconds of every n-th frame that is presented from now on. Without a
 * GPU each look converts the whole picture, which costs what decoding it does: every frame would measure mostly that.
 */
export function watchClock(page, every = 5) {
  return page.evaluate((n) => {
    const video = document.querySelector('video')
    const canvas = new OffscreenCanvas(640, 20)
    const context = canvas.getContext('2d', { willReadFrequently: true })
    const ages = (window.clockAges = [])
    let frames = 0
    const frame = (now) => {
      if (window.clockAges !== ages) return
      video.requestVideoFrameCallback(frame)
      if (frames++ % n) return
      context.drawImage(video, 0, 0, 640, 20, 0, 0, 640, 20)
      const { data } = context.getImageData(0, 10, 640, 1)
      let value = 0
      for (let bit = 0; bit < 32; bit += 1) value = value * 2 + (data[(bit * 20 + 10) * 4] > 127 ? 1 : 0)
      ages.push((Math.round(performance.timeOrigin + now) - value) >>> 0)
    }
    video.requestVideoFrameCallback(frame)
  }, every)
}

/** Ends that, and gives the ages in ascending order. */
export async function clockAges(page) {
  const ages = await page.evaluate(() => {
    const { clockAges } = window
    window.clockAges = null
    return clockAges
  })
  return ages.sort((a, b) => a - b)
}
