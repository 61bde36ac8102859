// `ws` with ioredis: a room per conversation, Redis pub/sub between nodes, JSON, an HS256 token that
// is verified before the upgrade. A send is acknowledged when Redis has published it; nothing is kept.

import { createSecretKey } from "node:crypto";
import { createServer } from "node:http";
import { Redis } from "ioredis";
import jwt from "jsonwebtoken";
import { WebSocketServer } from "ws";

// A key object: with the secret as a string, verifying costs twice as much.
const key = createSecretKey(Buffer.from(process.env.TOKEN_SECRET));
const publisher = new Redis(process.env.REDIS_URL);
const subscriber = new Redis(process.env.REDIS_URL);
const rooms = new Map();

const server = createServer((_, response) => response.writeHead(426).end());
const sockets = new WebSocketServer({ noServer: true });

server.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url, "http://localhost");
  let user;
  try {
    user = jwt.verify(url.searchParams.get("token"), key, { algorithms: ["HS256"] }).sub;
  } catch {
    socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (client) => join(client, url.pathname, user));
});

async function join(client, room, user) {
  client.on("error", () => client.terminate());
  client.on("close", () => leave(client, room));
  client.on("message", (data) => send(client, room, user, data));
  const known = rooms.get(room);
  if (known) {
    known.members.add(client);
    await known.subscribed;
  } else {
    const subscribed = subscriber.subscribe(room);
    rooms.set(room, { members: new Set([client]), subscribed });
    await subscribed;
  }
  client.send('{"type":"joined"}');
}

function leave(client, room) {
  const known = rooms.get(room);
  known.members.delete(client);
  if (known.members.size === 0) {
    rooms.delete(room);
    subscriber.unsubscribe(room);
  }
}

async function send(client, room, user, data) {
  const { content, local_id } = JSON.parse(data);
  const message = { local_id, sender_id: user, content, timestamp: new Date().toISOString() };
  await publisher.publish(room, JSON.stringify({ type: "message", message }));
  client.send(JSON.stringify({ type: "ack", local_id }));
}

subscriber.on("message", (room, text) => {
  for (const member of rooms.get(room)?.members ?? []) {
    member.send(text);
  }
});

server.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
