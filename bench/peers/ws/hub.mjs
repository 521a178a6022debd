// SPDX-License-Identifier: MIT
// Peer: the broadcast server of the `ws` package's documentation: what one client says goes to all that are open.
import { WebSocketServer, WebSocket } from 'ws';

const port = Number(process.argv[2] ?? 8082);
const server = new WebSocketServer({ host: '127.0.0.1', port, backlog: 4096, perMessageDeflate: false });

server.on('connection', (socket) => {
  socket.on('error', () => socket.terminate());
  socket.on('message', (data) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
    }
  });
});
server.on('listening', () => console.log(`ws hub on ${port}`));
