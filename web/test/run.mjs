// SPDX-License-Identifier: MIT
// Runs test/*.test.ts under node --test: esbuild (which Vite brings) turns them into plain modules first, so that Node 18,
// which cannot read TypeScript, runs them as well.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const out = mkdtempSync(join(tmpdir(), 'watchroom-web-test-'))
const tests = readdirSync(here).filter((name) => name.endsWith('.test.ts'))
let code = 1
try {
  await build({
    entryPoints: tests.map((name) => join(here, name)),
    outdir: out,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node18',
    define: { __SRC__: JSON.stringify(join(here, '..', 'src')) },
    logLevel: 'error',
  })
  code = spawnSync(process.execPath, ['--test', ...tests.map((name) => join(out, name.replace(/ts$/, 'cjs')))], { stdio: 'inherit' }).status ?? 1
} finally {
  rmSync(out, { recursive: true, force: true })
}
process.exit(code)
