// Calls the server with the generated TypeScript client over gRPC: issue a token, publish, batch, stream, consume.
// Arguments: URL of gRPC, API key.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { AuthService, Action } from "../../../gen/ts/trunkline/auth/v1/auth_service_pb.js";
import { PublishService } from "../../../gen/ts/trunkline/publish/v1/publish_service_pb.js";
import { ChannelService } from "../../../gen/ts/trunkline/publish/v1/channel_service_pb.js";

const [baseUrl, key] = process.argv.slice(2);
const withKey = (next) => (req) => { req.header.set("authorization", `Bearer ${key}`); return next(req); };
const transport = createGrpcTransport({ baseUrl, interceptors: [withKey] });
const auth = createClient(AuthService, transport);
const publish = createClient(PublishService, transport);
const channels = createClient(ChannelService, transport);
const bytes = (v) => new TextEncoder().encode(JSON.stringify(v));
const text = (b) => new TextDecoder().decode(b);
function equal(got, want, what) {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

const issued = await auth.issueToken({ user: "ada", grants: [{ address: "channels/ts:*", actions: [Action.SUBSCRIBE] }] });
const who = await auth.validateToken({ token: issued.token });
equal(who.identity.user, "ada", "user");

const to = "channels/ts:demo";
const one = await publish.publish({ to, data: bytes({ n: 1 }) });
equal(Number(one.position.offset), 1, "offset");
const batch = await publish.batchPublish({ requests: [{ to, data: bytes({ n: 2 }) }, { to: "nowhere", data: bytes(0) }, { to, data: bytes({ n: 3 }) }] });
equal(batch.results.map((r) => r.outcome.case), ["ok", "error", "ok"], "batch");
equal(batch.refused, 1, "refused");

async function* items() {
  for (let n = 4; n <= 103; n++) yield { sequence: BigInt(n), publish: { to, data: bytes({ n }) } };
}
let answered = 0;
for await (const answer of publish.publishStream(items())) {
  for (const r of answer.results) {
    equal(r.result.outcome.case, "ok", `sequence ${r.sequence}`);
    answered++;
  }
}
equal(answered, 100, "stream");

let next = 4; // the log keeps 100 messages
for await (const event of publish.consume({ address: to, fromBeginning: true })) {
  if (event.event.case !== "message") continue;
  equal(JSON.parse(text(event.event.value.data)).n, next++, "consume");
  if (next > 103) break;
}
const page = await channels.listMessages({ address: to, pageSize: 1, newestFirst: true });
equal(text(page.messages[0].data), '{"n":103}', "history");
try {
  await publish.publish({ to: "channels/a b" });
  throw new Error("published to a name that is none");
} catch (e) {
  if (!(e instanceof ConnectError) || e.code !== Code.InvalidArgument) throw e;
}
console.log("DONE");
process.exit(0); // idle HTTP/2 sessions would keep Node alive
