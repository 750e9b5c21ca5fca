"use strict";

/**
 * A client of the push protocol.
 *
 *   const push = new PushServer("ws://localhost:5222");
 *   push.subscribe("news", (message) => console.log(message)); // once CONNECTION_STATUS is true
 *
 * To know when that is, give a second argument: it is called with true and with false as the connection comes and goes.
 */
class PushServer {
  constructor(url, onStatus = () => {}) {
    this.CONNECTION_STATUS = false;
    this.UUID = null;
    this.CALLBACKS = new Map();
    this.onStatus = onStatus;
    this.WS_CONNECTION = new WebSocket(url);
    this.WS_CONNECTION.onmessage = this.handleMessage.bind(this);
    this.WS_CONNECTION.onclose = () => {
      const was = this.CONNECTION_STATUS;
      this.CONNECTION_STATUS = false;
      if (was) this.onStatus(false);
    };
  }

  /** Subscribes to a channel. The callback is called with the text of each message; a later one takes its place. */
  subscribe(channel, callback) {
    this.send("SUBSCRIBE", channel);
    this.CALLBACKS.set(channel, callback);
  }

  /** Unsubscribes from a channel. */
  unsubscribe(channel) {
    this.send("UNSUBSCRIBE", channel);
    this.CALLBACKS.delete(channel);
  }

  /** Closes the connection for good. */
  disconnect() {
    this.check();
    this.WS_CONNECTION.close();
  }

  check() {
    if (!this.CONNECTION_STATUS) throw new Error("The connection to the push server is not open");
  }

  send(action, channel) {
    this.check();
    this.WS_CONNECTION.send(JSON.stringify({ messageType: "CLIENT_ACTION", uuid: this.UUID, action, data: { channel } }));
  }

  handleMessage(event) {
    const frame = JSON.parse(event.data);
    if (!this.CONNECTION_STATUS) {
      if (frame.messageType !== "CLIENT_ACK" || frame.code !== 200 || frame.message !== "Connected") {
        throw new Error(`The push server refused the connection: ${event.data}`);
      }
      this.UUID = frame.data.uuid;
      this.CONNECTION_STATUS = true;
      this.onStatus(true);
      return;
    }
    if (frame.messageType === "ERROR") {
      console.error(`The push server answered ${frame.code} ${frame.message}: ${frame.data.errorDetails}`);
      return;
    }
    if (frame.messageType === "CLIENT_PUSH") {
      const { channel, message } = frame.data.pushMessage;
      this.CALLBACKS.get(channel)?.(message);
    }
  }
}

globalThis.PushServer = PushServer;
