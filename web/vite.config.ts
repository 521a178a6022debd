// SPDX-License-Identifier: MIT
// Two pages, lobby and room, built into dist/ with absolute /assets/ links: the gateway serves index.html at / and
// room.html at every /room/<name>. What their heads share is in src/head.html. Nothing is inlined, so that the page lives
// under a strict Content-Security-Policy.
import { readFileSync } from 'node:fs'
import { defineConfig } from 'vite'

const server = process.env.WATCHROOM_URL ?? 'http://127.0.0.1:8000'
const passed = ['/api', '/live', '/files', '/connection', '/ws']

export default defineConfig({
  base: '/',
  build: {
    target: 'es2021',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: { index: 'index.html', room: 'room.html' } },
  },
  server: { proxy: Object.fromEntries(passed.map((path) => [path, { target: server, ws: true }])) },
  plugins: [
    {
      name: 'head',
      transformIndexHtml: {
        order: 'pre',
        handler: (html) => html.replace('<!-- head -->', () => readFileSync('src/head.html', 'utf8').trim()),
      },
    },
    {
      name: 'room-page',
      configureServer({ middlewares }) {
        middlewares.use((request, _response, next) => {
          if (request.url?.startsWith('/room/')) request.url = '/room.html'
          next()
        })
      },
    },
  ],
})
