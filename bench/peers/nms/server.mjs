// SPDX-License-Identifier: MIT
// Peer: node-media-server as its README starts it, media only: RTMP in, FLV out over HTTP and WebSocket, with its GOP cache.
// server.mjs HTTP_PORT RTMP_PORT DATA_DIR
import NodeMediaServer from 'node-media-server';
import fs from 'node:fs';
import path from 'node:path';

const [httpPort, rtmpPort, dir] = process.argv.slice(2);
const config = {
  bind: '127.0.0.1',
  rtmp: { port: Number(rtmpPort), gop_cache: true },
  http: { port: Number(httpPort), allow_origin: '*' },
  store: { path: dir },
  auth: { play: false, publish: false },
  webadmin: { enable: false },
  record: { auto: false, path: path.join(dir, 'record') },
};
const file = path.join(dir, 'config.json');
fs.writeFileSync(file, JSON.stringify(config));
const server = new NodeMediaServer(config, file);
server.run();
