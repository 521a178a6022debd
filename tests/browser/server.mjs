// SPDX-License-Identifier: MIT
// A real server of its own for each test file: its own port and data folder, killed and started again where a test asks.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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

/** Where the services of --split find each other, on ports that are free. */
async function busOfItsOwn() {
  const env = { WATCHROOM_INGEST_STREAM_PORT: String(await freePort()) }
  for (const service of ['HUB', 'INGEST', 'FILESTORE']) {
    env[`WATCHROOM_BUS_${service}`] = env[`WATCHROOM_BUS_${service}_LISTEN`] = `tcp://127.0.0.1:${await freePort()}`
    env[`WATCHROOM_BUS_${service}_EVENTS`] = `tcp://127.0.0.1:${await freePort()}`
  }
  return env
}

export class Server {
  #child = null
  #output = ''
  #env = {}

  /** `config` is the text of a watchroom.yml; without it the server runs as it does out of the box. `split`: as four processes. */
  static async start({ config, split = false } = {}) {
    const server = new Server()
    server.split = split
    if (split) server.#env = await busOfItsOwn()
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
    if (this.split) args.push('--split')
    const child = spawn(process.env.WATCHROOM_BIN, args, { env: { ...process.env, ...this.#env }, stdio: ['ignore', 'pipe', 'pipe'] })
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

  /** kill -9 of one of the four processes of --split; the server is to start it again. */
  killService(name) {
    for (const id of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
      try {
        const parent = readFileSync(`/proc/${id}/stat`, 'utf8').split(') ').at(-1).split(' ')[1]
        const [, , service] = readFileSync(`/proc/${id}/cmdline`, 'utf8').split('\0')
        if (Number(parent) === this.#child.pid && service === name) return process.kill(Number(id), 'SIGKILL')
      } catch (error) {
        if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error
      }
    }
    throw new Error(`there is no process of the ${name}`)
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
