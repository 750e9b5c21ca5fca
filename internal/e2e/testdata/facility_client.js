// A client of the facility protocol that behaves as the shipped one does: it comes back after every close, with a random delay
// that grows, and with a heartbeat sends it every 5 s and counts those that stay unanswered. Loaded by a page and by Node.
function FacilityClient(options) {
  const states = ["connecting", "connected", "closing", "closed"];
  let ws, timer, attempts = 1, missed = 0, finished = false;
  const call = (name, ...args) => options[name] && options[name](...args);

  function connect() {
    if (finished) return;
    if (ws && ws.readyState <= 1) ws.close();
    call("connecting");
    ws = options.open ? options.open(options.uri) : new WebSocket(options.uri);
    ws.onopen = () => {
      attempts = 1;
      if (options.heartbeat_msg && !timer) {
        missed = 0;
        timer = setInterval(beat, 5000);
      }
      call("connected");
    };
    ws.onclose = () => {
      call("disconnected");
      if (finished) return;
      const longest = Math.min(2 ** attempts++ - 1, 30);
      setTimeout(connect, Math.random() * longest * 1000);
    };
    ws.onerror = () => {};
    ws.onmessage = (event) => {
      if (options.heartbeat_msg && event.data === options.heartbeat_msg) {
        missed = 0;
        call("beaten");
        return;
      }
      call("receive_message", event.data);
    };
  }

  function beat() {
    if (++missed > 3) {
      ws.close();
      return;
    }
    if (ws.readyState === 1) ws.send(options.heartbeat_msg);
  }

  this.send_message = (message) => ws.send(message);
  this.close = () => { finished = true; clearInterval(timer); ws.close(); };
  this.get_state = () => states[ws.readyState];
  connect();
}
globalThis.FacilityClient = FacilityClient;
