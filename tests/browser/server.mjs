// SPDX-License-Identifier: MIT
// A real server of its own for each test file: its own port and data folder, killed and started again where a test asks.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const START_MS = 20_000

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}

export class Server {
  #child = null
  #output = ''

  /** `config` is the text of a watchroom.yml; without it the server runs as it does out of the box. */
  static async start({ config } = {}) {
    const server = new Server()
    server.folder = mkdtempSync(join(tmpdir(), 'watchroom-browser-'))
    server.port = await freePort()
    server.health = await freePort()
    server.url = `http://127.0.0.1:${server.port}`
    if (config) {
      server.configFile = join(server.folder, 'watchroom.yml')
      writeFileSync(server.configFile, config)
    }
    await server.run()
    return server
  }

  async run() {
    const args = ['serve', '--listen', `127.0.0.1:${this.port}`, '--health', `127.0.0.1:${this.health}`, '--data', join(this.folder, 'data')]
    if (this.configFile) args.push('--config', this.configFile)
    const child = spawn(process.env.WATCHROOM_BIN, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (this.#output = (this.#output + text).slice(-20_000)))
    const deadline = Date.now() + START_MS
    while (!(await this.answers())) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the server did not start:\n${this.#output}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async answers() {
    try {
      const page = await fetch(`${this.url}/`)
      return page.ok && (await fetch(`${this.url}/api/v1/rooms`)).ok
    } catch {
      return false
    }
  }

  get output() {
    return this.#output
  }

  async kill(signal = 'SIGKILL') {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill(signal)
    await exit
  }

  async stop() {
    const hard = setTimeout(() => this.#child?.kill('SIGKILL'), 10_000)
    await this.kill('SIGTERM')
    clearTimeout(hard)
    rmSync(this.folder, { recursive: true, force: true })
  }
}
