// A Socket.IO server with the Redis adapter: node server.js HTTP CONTROL REDIS JWT-PUBLIC-KEY. Tokens are checked as Trunkline's
// are; a client joins the rooms that it names. A back end posts {to, data} to the control port.
import { createPublicKey, verify } from "node:crypto";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [httpAt, controlAt, redisAt, publicKey] = process.argv.slice(2);
const port = (addr) => Number(addr.split(":")[1]);
const key = createPublicKey({
  key: { kty: "OKP", crv: "Ed25519", x: Buffer.from(publicKey, "base64").toString("base64url") },
  format: "jwk",
});

function claims(token) {
  const [head, body, signature] = token.split(".");
  if (!verify(null, Buffer.from(`${head}.${body}`), key, Buffer.from(signature, "base64url"))) throw new Error("wrong signature");
  const c = JSON.parse(Buffer.from(body, "base64url").toString());
  if (c.exp * 1000 < Date.now()) throw new Error("expired");
  return c;
}

const pub = createClient({ url: `redis://${redisAt}` });
const sub = pub.duplicate();
await Promise.all([pub.connect(), sub.connect()]);

const web = createServer();
// The load does not answer pings, so they come later than a run lasts.
const io = new Server(web, { adapter: createAdapter(pub, sub), transports: ["websocket"], pingInterval: 120_000, serveClient: false });
io.use((socket, next) => {
  try {
    const { token, rooms } = socket.handshake.auth;
    const may = claims(token).channels;
    if (!rooms.every((r) => may.some((p) => r.startsWith(p)))) return next(new Error("forbidden"));
    socket.join(rooms);
    next();
  } catch (e) {
    next(e);
  }
});

const control = createServer((req, res) => {
  const parts = [];
  req.on("data", (p) => parts.push(p));
  req.on("end", () => {
    const { to, data } = JSON.parse(Buffer.concat(parts).toString());
    io.to(to).emit("m", data);
    res.end();
  });
});
await new Promise((done) => web.listen(port(httpAt), "127.0.0.1", 4096, done));
control.listen(port(controlAt), "127.0.0.1");
