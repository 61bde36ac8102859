// Socket.IO 4 with the Redis streams adapter: a room per conversation, an HS256 token in the
// handshake, WebSocket as the only transport. A send is acknowledged when it was emitted.

import { createSecretKey } from "node:crypto";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import jwt from "jsonwebtoken";
import { Server } from "socket.io";

// A key object: with the secret as a string, verifying costs twice as much.
const key = createSecretKey(Buffer.from(process.env.TOKEN_SECRET));
const server = createServer();
const io = new Server(server, {
  adapter: createAdapter(new Redis(process.env.REDIS_URL)),
  transports: ["websocket"],
});

io.use((socket, next) => {
  try {
    socket.data.user = jwt.verify(socket.handshake.auth.token, key, { algorithms: ["HS256"] }).sub;
    next();
  } catch {
    next(new Error("unauthorized"));
  }
});

io.on("connection", async (socket) => {
  const { room } = socket.handshake.auth;
  socket.on("send", ({ content, local_id }, acknowledge) => {
    const message = {
      local_id,
      sender_id: socket.data.user,
      content,
      timestamp: new Date().toISOString(),
    };
    io.to(room).emit("message", message);
    acknowledge({ local_id });
  });
  await socket.join(room);
  socket.emit("joined");
});

server.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
