// A back end in Node with @grpc/grpc-js. Arguments: host:port of gRPC, API key.
import { loadPackageDefinition, credentials, Metadata, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const definition = loadSync(
  [
    "trunkline/auth/v1/auth_service.proto",
    "trunkline/errors/v1/error.proto",
    "trunkline/publish/v1/publish_service.proto",
    "google/rpc/error_details.proto",
    "grpc/health/v1/health.proto",
  ],
  { includeDirs: ["proto", "clients/proto"], defaults: true, longs: String, enums: String, oneofs: true, keepCase: true },
);
const { trunkline, grpc } = loadPackageDefinition(definition);
// A message by its full name, from its bytes.
const read = (name, bytes) => definition[name].deserialize(bytes);

const [target, key] = process.argv.slice(2);
const insecure = credentials.createInsecure(); // with TLS: credentials.createSsl()
const options = { "grpc.keepalive_time_ms": 30_000, "grpc.default_compression_algorithm": 2 }; // 2 is gzip
const auth = new trunkline.auth.v1.AuthService(target, insecure, options);
const publish = new trunkline.publish.v1.PublishService(target, insecure, options);
const health = new grpc.health.v1.Health(target, insecure);

const bearer = (credential) => {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${credential}`);
  return metadata;
};
const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });
// Calls a method with one answer.
const call = (client, method, request, metadata) =>
  new Promise((resolve, reject) => {
    client[method](request, metadata, within(5), (error, answer) => (error ? reject(error) : resolve(answer)));
  });

const checked = await call(health, "Check", { service: "trunkline.publish.v1.PublishService" }, new Metadata());
console.log(`health: ${checked.status}`);

const { token } = await call(auth, "IssueToken", { user: "ada", client: "phone", ttl: { seconds: 3600 } }, bearer(key));
console.log("token: for ada");

const message = {
  to: "users/ada",
  data: Buffer.from(JSON.stringify({ text: "hello" })), // a string would be taken for base64
  ack: { timeout: { seconds: 30 } },
  idempotency_key: "order-7-paid",
};
const { id } = await call(publish, "Publish", message, bearer(key));
console.log("published: to users/ada");

const subscription = publish.Subscribe(bearer(token));
// from_beginning: what waits for an ack, and what comes
subscription.write({ sequence: 1, subscribe: { address: "users/ada", from_beginning: true } });
for await (const answer of subscription) {
  switch (answer.event) {
    case "message":
      console.log(`message: ${answer.message.data}`);
      subscription.write({ sequence: 2, ack: { address: answer.message.to, ids: [answer.message.id] } });
      break;
    case "acked":
      console.log(`acknowledged: ${answer.acked.acked}`);
      subscription.end();
      break;
    case "error":
      throw new Error(answer.error.message);
  }
}

let receipt;
for await (const answer of publish.WatchReceipts({ address: "users/ada", id }, bearer(key))) {
  receipt = answer.receipt;
}
console.log(`receipt: ${receipt.state.replace("DELIVERY_STATE_", "")}`);

const stream = publish.PublishStream(bearer(key));
let [credits, sent, accepted] = [0, 0, 0];
for await (const answer of stream) {
  accepted += answer.results.filter((r) => r.result.outcome === "ok").length;
  for (credits += answer.credits; credits > 0 && sent < 100; credits--) {
    const data = Buffer.from(JSON.stringify({ n: ++sent }));
    stream.write({ sequence: sent, publish: { to: "channels/demo:node", data } });
    if (sent === 100) stream.end();
  }
}
console.log(`streamed: ${accepted} of 100`);

let consumed = 0;
try {
  const from = { address: "channels/demo:node", from_beginning: true };
  for await (const answer of publish.Consume(from, bearer(key), within(3))) {
    if (answer.event === "message") consumed++;
  }
} catch (error) {
  console.log(`consumed: ${consumed}, then ${status[error.code]}`);
}

try {
  await call(publish, "Publish", { to: "channels/a b" }, bearer(key));
} catch (error) {
  const { details } = read("trunkline.errors.v1.StatusDetails", error.metadata.get("grpc-status-details-bin")[0]);
  const find = (name) => read(name, details.find((d) => d.type_url.endsWith(`/${name}`)).value);
  const own = find("trunkline.errors.v1.Error");
  console.log(`refused: ${status[error.code]} ${own.reason} ${own.field_violations[0].field}`);
  const [info, bad] = [find("google.rpc.ErrorInfo"), find("google.rpc.BadRequest")];
  console.log(`details: ${info.reason} ${bad.field_violations[0].field}`);
}
for (const client of [auth, publish, health]) client.close();
