// Lets the client of the pages hear a refusal with a delay, and looks at when it means to come back.
import { createClient } from "../../../web/files/sdk.js";

class Refusing {
  constructor() {
    queueMicrotask(() => {
      this.onmessage({ data: '{"error":{"reason":"SERVER_DRAINING","message":"m","retryDelay":"7.500s"}}' });
      this.onclose({ code: 4503 });
    });
  }
  close() {}
}

const client = createClient("http://localhost", { token: "t", webSocket: Refusing });
const state = await new Promise((resolve) => {
  client.onState((s) => s.status === "waiting" && resolve(s));
  client.connect();
});
const ms = state.retryAt - Date.now();
if (ms < 7000 || ms > 10000 || state.error.reason !== "SERVER_DRAINING") throw new Error(`comes back in ${ms} ms after ${state.error}`);
client.close();
console.log("DONE");
