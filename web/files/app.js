// The welcome page. What arrives is shown as text, never as HTML.
import { createClient } from "/sdk.js";

const $ = (id) => document.getElementById(id);
let last = {};

async function token() {
	const r = await fetch("/dev/token", { cache: "no-store" });
	if (!r.ok) throw new Error(`no token: ${r.status}`);
	last = await r.json();
	show();
	return last.token;
}

const client = createClient(location.origin, { token, name: "welcome page" });
client.onState((s) => {
	$("state").dataset.status = s.status;
	$("state").textContent = s.status === "connected" ? "connected" : s.error ? `${s.status}: ${s.error.message}` : s.status;
});

function line(text, className = "") {
	const li = document.createElement("li");
	const time = document.createElement("time");
	time.textContent = new Date().toLocaleTimeString();
	li.className = className;
	li.append(time, text);
	$("empty").hidden = true;
	$("messages").prepend(li);
	while ($("messages").childElementCount > 200) $("messages").lastElementChild.remove();
}

$("publish").addEventListener("submit", async (e) => {
	e.preventDefault();
	const text = $("data").value;
	let data = text;
	try {
		data = JSON.parse(text);
	} catch {
		// What is no JSON is sent as a JSON string.
	}
	try {
		const r = await client.publish("demo", data);
		$("result").textContent = `sent as ${r.id}`;
	} catch (err) {
		$("result").textContent = err.message;
	}
});

let tab = "browser";
$("tabs").addEventListener("click", (e) => {
	if (!e.target.dataset.tab) return;
	tab = e.target.dataset.tab;
	for (const b of $("tabs").children) b.setAttribute("aria-selected", String(b.dataset.tab === tab));
	show();
});

function show() {
	const { origin } = location;
	const grpc = last.grpc ?? `${location.hostname}:9090`;
	const t = last.token ?? "TOKEN";
  const code = {
    browser: `<script type="module">
  import { createClient } from "${origin}/sdk.js";

  const client = createClient("${origin}", {
    token: "${t}",
  });
  for await (const m of client.subscribe("demo"))
    console.log(m.data);
</script>`,
    rest: `# publish
curl -sX POST ${origin}/v1/channels/demo:publish \\
  -H 'authorization: Bearer ${t}' \\
  -H 'content-type: application/json' \\
  -d '{"data":{"text":"hello"}}'

# follow
curl -sN ${origin}/v1/channels/demo/stream \\
  -H 'authorization: Bearer ${t}'`,
    grpc: `// Go
conn, err := grpc.NewClient("${grpc}",
  grpc.WithTransportCredentials(insecure.NewCredentials()))
client := publishv1.NewPublishServiceClient(conn)
ctx = metadata.AppendToOutgoingContext(ctx,
  "authorization", "Bearer ${t}")
_, err = client.Publish(ctx, &publishv1.PublishRequest{
  To:   "channels/demo",
  Data: []byte(\`{"text":"hello"}\`),
})

# Python
stub = publish_service_pb2_grpc.PublishServiceStub(
    grpc.insecure_channel("${grpc}"))
stub.Publish(
    publish_service_pb2.PublishRequest(
        to="channels/demo", data=b'{"text":"hello"}'),
    metadata=[("authorization", "Bearer ${t}")])

// Node
const client = createClient(PublishService,
  createGrpcTransport({ baseUrl: "http://${grpc}" }));
await client.publish(
  { to: "channels/demo", data: new TextEncoder().encode('{"text":"hello"}') },
  { headers: { authorization: "Bearer ${t}" } });`,
  };
	$("code").textContent = code[tab];
}

show();
for (;;) {
	try {
		const onGap = (g) => line(`messages were missed (${g.reason})`, "gap");
		for await (const m of client.subscribe("demo", { onGap })) {
			line(/TEXT|BINARY/.test(m.contentType) ? m.data : JSON.stringify(m.data));
		}
		break;
	} catch (err) {
		line(err.message, "gap");
		await new Promise((r) => setTimeout(r, 5000));
	}
}
