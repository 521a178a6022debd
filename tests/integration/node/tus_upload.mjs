// SPDX-License-Identifier: MIT
// The unmodified `tus-js-client`: uploads a file, by default in one request, else in chunks; may pause in the middle and
// resume from a stored URL. Prints one JSON line.
//   tus_upload.mjs ENDPOINT FILE ROOM [CHUNK-BYTES] [PAUSE-AT-BYTES]
import fs from 'node:fs';
import path from 'node:path';
import { Upload } from 'tus-js-client';

const [, , endpoint, file, room, chunk, pauseAt] = process.argv;
const size = fs.statSync(file).size;
let paused = false;
let errors = 0;

const upload = (url) => new Promise((done, fail) => {
  const u = new Upload(fs.createReadStream(file), {
    endpoint, uploadUrl: url, uploadSize: size, chunkSize: Number(chunk) || Infinity,
    retryDelays: Array(200).fill(100),
    metadata: { filename: path.basename(file), filetype: 'application/octet-stream', room, name: 'Node' },
    onShouldRetry: () => { errors++; return true; },
    onError: fail,
    onSuccess: () => done(u.url),
    onProgress: (sent) => {
      if (pauseAt && !paused && sent >= Number(pauseAt)) {
        paused = true;
        u.abort().then(() => upload(u.url).then(done, fail));
      }
    },
  });
  u.start();
});
const url = await upload(undefined);
console.log(JSON.stringify({ url, paused, errors, size }));
