// An edge process of the older relay, as it was: a socket per token, checked by GET /auth after it has opened, and fed
// from the Redis channel article. Arguments: URL of the token server, URL of Redis. Prints PORT n, then OPEN token
// whenever a socket may stay. It ends when its input does.
import { WebSocketServer } from "ws";
import { createClient } from "redis";

const [tokens, url] = process.argv.slice(2);
const sockets = new Map();
const redis = createClient({ url });
redis.on("error", () => {});
await redis.connect();
await redis.subscribe("article", (text) => {
  const record = JSON.parse(text);
  sockets.get(record.uuid_remote)?.send(JSON.stringify({ message: record.message }));
});
const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
server.on("connection", async (socket, req) => {
  const token = new URL(req.url, "http://x").searchParams.get("token");
  const { auth } = await (await fetch(`${tokens}/auth/${token}`)).json();
  if (!auth) return socket.close();
  sockets.set(token, socket);
  console.log(`OPEN ${token}`);
});
server.on("listening", () => console.log(`PORT ${server.address().port}`));
process.stdin.resume();
process.stdin.on("end", async () => {
  await redis.quit();
  for (const s of server.clients) s.terminate();
  server.close();
  console.log("DONE");
});
