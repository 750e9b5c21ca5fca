// Renders /openapi.json. Everything is put in as text, never as HTML.
const el = (tag, props, ...children) => {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children.filter((c) => c != null));
  return e;
};
const spec = await (await fetch("/openapi.json")).json();
const token = document.getElementById("token");
const resolve = (s) => (s && s.$ref ? s.$ref.slice(2).split("/").reduce((o, k) => o[k], spec) : s) ?? {};
const typeOf = (s) => {
  if (!s) return "";
  if (s.$ref) return s.$ref.split("/").pop();
  if (s.allOf && s.allOf.length === 1) return typeOf(s.allOf[0]);
  if (s.type === "array") return `list of ${typeOf(s.items)}`;
  if (s.additionalProperties?.type) return `map of ${s.additionalProperties.type}`;
  return (s.type ?? "any value") + (s.format ? ` (${s.format})` : "");
};

function table(rows) {
  return el("table", {}, el("tbody", {}, ...rows.map((r) => el("tr", {}, ...r.map((c) => el("td", {}, c ?? ""))))));
}

// fields shows a schema and, folded, those that it uses.
function fields(schema, seen = []) {
  const name = typeOf(schema);
  const s = resolve(schema?.allOf?.length === 1 ? schema.allOf[0] : schema);
  if (s.enum) return el("p", {}, s.enum.join(", "));
  const rows = Object.entries(s.properties ?? {}).map(([key, p]) => {
    const inner = p.items ?? p.allOf?.[0] ?? p;
    const target = inner.$ref && !seen.includes(inner.$ref) ? inner : null;
    const more = target ? el("details", {}, el("summary", {}, typeOf(target)), fields(target, [...seen, inner.$ref])) : null;
    return [el("code", {}, key), typeOf(p), el("div", {}, p.description ?? resolve(p).description ?? "", more)];
  });
  return rows.length ? table(rows) : el("p", {}, s.description ?? name);
}

function example(schema) {
  const s = resolve(schema);
  if (s.properties?.data) return '{\n  "data": { "text": "hello" }\n}';
  return "{}";
}

function form(method, path, op, body) {
  const inputs = (op.parameters ?? []).map((p) => {
    const q = resolve(p);
    const input = el("input", { placeholder: q.name, ariaLabel: q.name });
    return { q, input };
  });
  const text = body ? el("textarea", { value: example(body), spellcheck: false, ariaLabel: "body" }) : null;
  const out = el("pre", { hidden: true });
  let running;
  const send = el("button", {
    type: "button",
    textContent: "Send",
    async onclick() {
      running?.abort();
      running = new AbortController();
      let target = path;
      const query = new URLSearchParams();
      for (const { q, input } of inputs) {
        if (q.in === "path") target = target.replace(`{${q.name}}`, encodeURIComponent(input.value));
        else if (q.in === "query" && input.value !== "") query.set(q.name, input.value);
      }
      if ([...query].length) target += `?${query}`;
      const headers = {};
      if (token.value) headers.authorization = `Bearer ${token.value}`;
      if (text) headers["content-type"] = "application/json";
      out.hidden = false;
      out.textContent = "…";
      try {
        const r = await fetch(target, { method: method.toUpperCase(), headers, body: text?.value, signal: running.signal });
        out.textContent = `${r.status} ${r.headers.get("x-request-id") ?? ""}\n`;
        const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          out.textContent = (out.textContent + value).slice(-100000);
        }
      } catch (e) {
        if (e.name !== "AbortError") out.textContent += String(e);
      }
    },
  });
  const stop = el("button", { type: "button", textContent: "Stop", onclick: () => running?.abort() });
  return el("div", {}, ...inputs.map((i) => i.input), text, el("p", {}, send, " ", stop), out);
}

function operation(method, path, op) {
  const d = el("details", {});
  d.dataset.text = `${method} ${path} ${op.operationId} ${op.summary ?? ""}`.toLowerCase();
  d.append(el("summary", {}, el("b", { className: method, textContent: method.toUpperCase() }), path));
  d.addEventListener("toggle", () => {
    if (d.childElementCount > 1) return;
    const body = resolve(op.requestBody)?.content?.["application/json"]?.schema;
    d.append(el("p", {}, op.description ?? op.summary ?? ""));
    if (op.parameters?.length) {
      d.append(el("h3", {}, "Parameters"), table(op.parameters.map((p) => {
        const q = resolve(p);
        return [el("code", {}, q.name), `${q.in}, ${typeOf(q.schema)}`, q.description];
      })));
    }
    if (body) d.append(el("h3", {}, "Body"), fields(body));
    for (const [status, r] of Object.entries(op.responses ?? {})) {
      const schemas = Object.entries(resolve(r).content ?? {});
      d.append(el("h3", {}, `Answer ${status}`));
      for (const [type, c] of schemas) d.append(el("p", {}, type), fields(c.schema));
    }
    // The older relay has a listener of its own, which this page cannot call.
    if (path.startsWith("/v1/") || path.startsWith("/.well-known/")) d.append(el("h3", {}, "Try it"), form(method, path, op, body));
  });
  return d;
}

document.getElementById("about").textContent = spec.info.description ?? "";
const groups = new Map((spec.tags ?? []).map((t) => [t.name, { about: t.description, list: [] }]));
for (const [path, item] of Object.entries(spec.paths)) {
  for (const method of ["get", "post", "put", "patch", "delete"]) {
    const op = item[method];
    if (!op) continue;
    const tag = op.tags?.[0] ?? "Other";
    if (!groups.has(tag)) groups.set(tag, { list: [] });
    groups.get(tag).list.push(operation(method, path, op));
  }
}
const main = document.getElementById("operations");
main.replaceChildren();
for (const [name, g] of groups) {
  if (g.list.length) main.append(el("section", {}, el("h2", {}, name), el("p", {}, g.about ?? ""), ...g.list));
}
document.getElementById("find").addEventListener("input", (e) => {
  const want = e.target.value.toLowerCase();
  for (const d of main.querySelectorAll("section > details")) d.hidden = !d.dataset.text.includes(want);
});
