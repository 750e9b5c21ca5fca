// A program of the older message server. Arguments: host:port of two listeners.
const addresses = process.argv.slice(2);

// connect returns a connection whose frames are waited for one by one.
async function connect(address, room = "1") {
  const socket = new WebSocket(`ws://${address}/ws/${room}`);
  const frames = [], waiting = [];
  socket.onmessage = (e) => {
    const f = JSON.parse(e.data);
    if (Object.keys(f).sort().join() !== "body,clientID,id,type" || Object.keys(f.body).sort().join() !== "command,data") throw new Error(e.data);
    (waiting.shift() ?? ((x) => frames.push(x)))(f);
  };
  await new Promise((ok, no) => { socket.onopen = ok; socket.onerror = no; });
  const next = () => frames.length ? Promise.resolve(frames.shift()) : new Promise((ok) => waiting.push(ok));
  return {
    send: (command, data) => socket.send(JSON.stringify({ command, data })),
    get: async (command) => { for (;;) { const f = await next(); if (f.body.command === command) return f; } },
    close: () => new Promise((ok) => { socket.onclose = ok; socket.close(); }),
  };
}
const must = (ok, text) => { if (!ok) throw new Error(text); };

const [a, b] = [await connect(addresses[0]), await connect(addresses[1])];
await b.get("newUser");
a.send("newID");
const ann = (await a.get("clientID")).body.data;
must(/^[0-9a-f]{32}$/.test(ann), ann);
b.send("setID", "bob");
b.send("newID");
must((await b.get("clientID")).clientID === "bob", "setID");

a.send("sendMessage", { from: ann, to: "bob", text: "hi" });
const [own, his] = [await a.get("sendMessage"), await b.get("sendMessage")];
must(own.id !== his.id && own.clientID === ann && his.body.data.text === "hi" && his.type === 1, "the copies");
b.send("ack", his.id);

await b.close();
await a.get("userDisconnected");
for (let i = 0; i < 5; i++) a.send("sendMessage", { from: ann, to: "bob", text: i });
for (let i = 0; i < 5; i++) await a.get("sendMessage");
const back = await connect(addresses[0], "2");
back.send("setID", "bob");
for (let i = 0; i < 5; i++) {
  const f = await back.get("sendMessage");
  must(f.body.data.text === i && f.clientID === ann, `message ${i} is ${JSON.stringify(f)}`);
  if (i !== 3) back.send("ack", f.id);
}
back.send("newID");
await back.get("clientID");
await back.close();
const again = await connect(addresses[1]);
again.send("setID", "bob");
const left = await again.get("sendMessage");
must(left.body.data.text === 3, JSON.stringify(left));
again.send("ack", left.id);
again.send("any command", [1, { two: null }]);
must(JSON.stringify((await a.get("any command")).body.data) === '[1,{"two":null}]', "any command");
await again.close();
await a.close();
console.log("DONE");
