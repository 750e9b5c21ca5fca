// A small client of Trunkline's WebSocket (trunkline.v1.json):
//
//   const client = createClient(url, { token });
//   for await (const m of client.subscribe("demo")) console.log(m.data);
//
// token is a string, or a function that returns one or a promise of one.

const MIN_WAIT = 500;
const MAX_WAIT = 20000;
const TIMEOUT = 10000;
const BUFFER = 1024;
const KEPT = 256;
const WINDOW = 600000; // of a key

// Written by make gen: what ends a client.
// refusals:begin
const AFTER_CLOSE = { 1003: "stop", 4400: "stop", 4401: "stop", 4402: "renew", 4403: "stop", 4413: "stop" };
const RENEWABLE = [4401, 4402, 4425];
// refusals:end

/** An error with its reason, such as CHANNEL_PUBLISH_DENIED. */
export class TrunklineError extends Error {
	constructor(e) {
		super(e.message ?? e.reason);
		Object.assign(this, { name: "TrunklineError", metadata: {}, fieldViolations: [] }, e);
		this.retryDelay = (parseFloat(e.retryDelay) || 0) * 1000; // in ms; "1.5s" on the wire
	}
}

/** The address of a name: "demo" is channels/demo, "users/a|b" is users/a%7Cb. */
export const address = (name) => (name.includes("/") || name === "broadcast" ? name.replace(NAMED, canonical) : `channels/${name}`);

// Messages spell such names in one form.
const NAMED = /^((?:client|user|group|session)s\/)([^/*]+)/;

function canonical(all, kind, name) {
	const code = (c) => (c[1] ? unescape(c) : "%" + c.charCodeAt().toString(16).toUpperCase());
	try {
		return kind + encodeURIComponent(decodeURIComponent(name)).replace(/%(3A|40|3D|2B)|[!~*'()]/g, code);
	} catch {
		return all; // which the server refuses
	}
}

export function createClient(url = globalThis.location?.origin, options = {}) {
	return new Client(url, options);
}

const key = () => globalThis.crypto?.randomUUID?.() ?? Array.from({ length: 4 }, () => Math.random().toString(36).slice(2)).join("");

class Client {
	#url;
	#options;
	#ws;
	#state = { status: "idle" };
	#listeners = new Set();
	#subs = new Map(); // address to { position, handles }
	#calls = new Map(); // by id
	#id = 0;
	#attempt = 0;
	#renewed = false;
	#ticket; // the newest resume ticket
	#own = new Map(); // own address to position: the server tells what was lost since
	#timers = new Set();

	constructor(url, options) {
		this.#url = new URL("/v1/ws", url);
		this.#url.protocol = this.#url.protocol.replace("http", "ws");
		this.#options = options;
	}

	get state() {
		return this.#state;
	}

	get #live() {
		return this.#state.status === "connected";
	}

	/** Calls fn with each state; returns a function that ends it. */
	onState(fn) {
		this.#listeners.add(fn);
		return () => this.#listeners.delete(fn);
	}

	/** Follows an address, across reconnects. onGap hears what was missed, onPresence { changes, clients, unlisted }. */
	subscribe(name, { after, fromBeginning, onGap, onPresence } = {}) {
		const to = address(name);
		const handle = new Subscription(() => this.#leave(to, handle), onGap, onPresence);
		const presence = !!onPresence;
		let sub = this.#subs.get(to);
		if (sub) {
			sub.handles.add(handle);
			if (presence && !sub.presence) this.#watch(to, sub);
		} else {
			sub = { position: after, past: [], fromBeginning, presence, handles: new Set([handle]) };
			this.#subs.set(to, sub);
			if (this.#live) this.#subscribe(to, sub);
			else this.connect();
		}
		return handle;
	}

	/** Sends a message, again after a reconnect, under one key; resolves with what became of it. */
	publish(name, data, options = {}) {
		return this.#call({ publish: { to: address(name), data, idempotencyKey: key(), ...options } });
	}

	connect() {
		if (["idle", "closed"].includes(this.#state.status)) this.#open();
	}

	close() {
		this.#end();
	}

	#set(state) {
		this.#state = state;
		for (const fn of this.#listeners) fn(state);
	}

	#leave(to, handle) {
		const sub = this.#subs.get(to);
		if (!sub?.handles.delete(handle) || sub.handles.size) return;
		this.#subs.delete(to);
		if (this.#live) this.#call({ unsubscribe: { address: to } }).catch(() => {});
	}

	#subscribe(to, sub) {
		this.#call({ subscribe: { address: to, ...where(sub) } }).catch((e) => this.#fail(to, e));
	}

	#watch(to, sub) {
		sub.presence = true;
		if (!this.#live) return;
		this.#call({ unsubscribe: { address: to } }).then(() => this.#subs.get(to) === sub && this.#subscribe(to, sub), () => {});
	}

	#fail(to, error) {
		if (!(error instanceof TrunklineError)) return; // the connection ended; the next subscribes again
		const sub = this.#subs.get(to);
		if (sub?.presence && sub.followed && error.reason === "CHANNEL_PRESENCE_DENIED") {
			sub.presence = false;
			return this.#subscribe(to, sub);
		}
		this.#over(to, error);
	}

	#call(command) {
		this.connect();
		return new Promise((resolve, reject) => {
			const id = ++this.#id;
			const done = (fn) => (v) => {
				clearTimeout(timer);
				this.#calls.delete(id);
				fn(v);
			};
			const timer = setTimeout(() => done(reject)(new Error("no answer in time")), TIMEOUT);
			this.#calls.set(id, { command, resolve: done(resolve), reject: done(reject) });
			if (this.#live) this.#send({ id, ...command });
		});
	}

	#send(frame) {
		if (this.#ws?.readyState === 1) this.#ws.send(JSON.stringify(frame));
	}

	async #token() {
		const { token } = this.#options;
		return typeof token === "function" ? await token() : token;
	}

	async #open() {
		this.#set({ status: "connecting", attempt: this.#attempt });
		const ticket = Date.parse(this.#ticket?.expireTime) - 1000 > Date.now() ? this.#ticket.ticket : undefined;
		let token;
		try {
			if (!ticket) token = await this.#token();
		} catch (error) {
			return this.#wait(error);
		}
		if (this.#state.status !== "connecting") return;
		const WS = this.#options.webSocket ?? WebSocket;
		const ws = new WS(this.#url, ["trunkline.v1.json"]);
		this.#ws = ws;
		let reason, opened;
		const slow = setTimeout(() => ws.close(), TIMEOUT);
		ws.onopen = () => {
			const subscriptions = [...this.#subs].map(([to, sub]) => ({ address: to, ...where(sub) }));
			const own = [...this.#own].map(([address, position]) => ({ address, position }));
			this.#send({ connect: { token, ticket, subscriptions, own, name: this.#options.name ?? "sdk.js" } });
		};
		ws.onmessage = (e) => {
			if (ws !== this.#ws) return;
			const frame = JSON.parse(e.data);
			if (frame.connected) {
				clearTimeout(slow);
				opened = true;
			}
			if (frame.error && !frame.id) reason = new TrunklineError(frame.error);
			else this.#frame(frame);
		};
		ws.onclose = (e) => {
			clearTimeout(slow);
			if (ws !== this.#ws) return;
			// It may be the ticket's own; these two say nothing of it.
			const refused = ticket && !opened && reason && !["SERVER_OVERLOADED", "SERVER_DRAINING"].includes(reason.reason);
			if (refused) this.#ticket = undefined;
			this.#closed(refused ? 4500 : e.code, reason);
		};
	}

	#frame(frame) {
		if (frame.connected) return this.#connected(frame.connected);
		if (frame.message) this.#message(frame.message);
		else if (frame.ticket) this.#ticket = frame.ticket;
		else if (frame.gap) this.#gap(frame.gap);
		else if (frame.presenceEvent) for (const h of this.#subs.get(frame.presenceEvent.address)?.handles ?? []) h.onPresence?.(frame.presenceEvent);
		else if (frame.subscribed) this.#subscribed(frame.subscribed);
		else if (frame.unsubscribed && !frame.id) this.#over(frame.unsubscribed.address);
		const call = this.#calls.get(frame.id);
		if (!call) return;
		if (frame.error) call.reject(new TrunklineError(frame.error));
		else call.resolve(frame.published ?? frame);
	}

	#stand(list) {
		for (const { address, position } of list ?? []) if (position && !this.#own.has(address)) this.#own.set(address, position);
	}

	#connected(c) {
		this.#stand(c.own);
		this.#attempt = 0;
		this.#renewed = false;
		this.#ticket = c.ticket && { ticket: c.ticket, expireTime: c.ticketExpireTime };
		const asked = [...this.#subs.keys()];
		this.#set({ status: "connected", connection: c.connection, client: c.client, user: c.user ?? null });
		const answered = new Set();
		for (const [i, r] of (c.subscriptions ?? []).entries()) {
			if (r.error && asked[i]) this.#fail(asked[i], new TrunklineError(r.error));
			if (r.subscribed) this.#subscribed(r.subscribed);
			answered.add(r.subscribed?.address ?? asked[i]);
		}
		// Asked for while it was opening.
		for (const [to, sub] of this.#subs) if (!answered.has(to)) this.#subscribe(to, sub);
		for (const [id, call] of this.#calls) if (call.command.publish) this.#send({ id, ...call.command });
		if (c.expireTime && typeof this.#options.token === "function") this.#renew(c.expireTime);
		const every = c.pingIntervalMs || 25000;
		this.#later(every, () => this.#ping(every));
	}

	#later(ms, fn) {
		const t = setTimeout(() => {
			this.#timers.delete(t);
			fn();
		}, ms);
		this.#timers.add(t);
	}

	#renew(end) {
		this.#later(Math.min(2 ** 31 - 1, Math.max(1000, (Date.parse(end) - Date.now()) * 0.8)), () => this.#refresh());
	}

	async #refresh() {
		try {
			const { refreshed } = await this.#call({ refresh: { token: await this.#token() } });
			this.#stand(refreshed.own);
			this.#renew(refreshed.expireTime);
		} catch {
			this.#later(5000, () => this.#live && this.#refresh());
		}
	}

	#ping(ms) {
		const ws = this.#ws;
		this.#call({ ping: {} }).then(
			() => this.#later(ms, () => this.#ping(ms)),
			() => ws === this.#ws && ws.close(),
		);
	}

	#subscribed(s) {
		const sub = this.#subs.get(s.address);
		if (!sub) return;
		if (s.position && !(s.recovered && sub.position)) move(sub, s.position);
		sub.fromBeginning = false;
		sub.followed = true;
	}

	// The channel was deleted, or a new token does not grant it.
	#over(to, error) {
		const sub = this.#subs.get(to);
		this.#subs.delete(to);
		for (const h of sub?.handles ?? []) h.end(error);
	}

	#message(m) {
		if (m.position && this.#own.has(m.to)) this.#own.set(m.to, m.position);
		const sub = this.#subs.get(m.to);
		if (!sub) return;
		const had = sub.position;
		if (m.position) {
			const { epoch, offset } = m.position;
			if (had?.epoch === epoch ? BigInt(offset ?? 0) <= BigInt(had.offset ?? 0) : sub.past.includes(epoch)) return;
			move(sub, m.position);
			if (repeated((sub.had ??= new Map()), m)) return;
		}
		for (const h of sub.handles) h.push(m);
	}

	#gap(g) {
		if (this.#own.has(g.address)) g.to ? this.#own.set(g.address, g.to) : this.#own.delete(g.address);
		const sub = this.#subs.get(g.address);
		if (!sub) return this.#options.onGap?.(g);
		if (g.to) move(sub, g.to);
		for (const h of sub.handles) h.onGap?.(g);
	}

	#drop() {
		for (const t of this.#timers) clearTimeout(t);
		this.#timers.clear();
		const ws = this.#ws;
		this.#ws = undefined;
		ws?.close();
		for (const call of this.#calls.values()) if (!call.command.publish) call.reject(new Error("the connection ended"));
	}

	// What ended for an old token is tried once with a new one.
	#closed(code, reason) {
		this.#drop();
		const fresh = RENEWABLE.includes(code) && typeof this.#options.token === "function" && !this.#renewed;
		if ((AFTER_CLOSE[code] ?? "again") !== "again" && !fresh) return this.#end(reason ?? new Error(`closed with ${code}`));
		if (fresh) this.#renewed = true;
		this.#wait(reason);
	}

	// Full jitter up to a limit that doubles, after what the server asks for.
	#wait(error) {
		const ms = (error?.retryDelay ?? 0) + Math.random() * Math.min(MAX_WAIT, MIN_WAIT * 2 ** this.#attempt++);
		this.#set({ status: "waiting", attempt: this.#attempt, retryAt: new Date(Date.now() + ms), error });
		this.#later(ms, () => this.#open());
	}

	#end(error) {
		this.#drop();
		this.#ticket = undefined; // who connects next may be another user
		this.#own.clear();
		for (const call of this.#calls.values()) call.reject(error ?? new Error("closed"));
		for (const sub of this.#subs.values()) for (const h of sub.handles) h.end(error);
		this.#subs.clear();
		this.#set({ status: "closed", error });
	}
}

// Whether m was had before a failover lost it: both ids (UUIDv7) end alike.
function repeated(had, { id = "", position: { epoch } }) {
	const rest = id.slice(14);
	const made = parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
	const old = had.get(rest);
	if (rest && old?.epoch !== epoch && Math.abs(old?.made - made) <= WINDOW) return true;
	had.set(rest, { epoch, made });
	if (had.size > KEPT) had.delete(had.keys().next().value);
}

// Goes on from p. What comes of a former epoch is late, unless a gap led back to it.
function move(sub, p) {
	sub.past.push(sub.position?.epoch);
	const back = sub.past.indexOf(p.epoch);
	if (back >= 0) sub.past.length = back;
	sub.position = p;
}

const where = (sub) => ({
	...(sub.position ? { after: sub.position } : sub.fromBeginning ? { fromBeginning: true } : {}),
	...(sub.presence && { presence: true }),
});

const OVER = { value: undefined, done: true };

class Subscription {
	#leave;
	#queue = [];
	#waiting = [];
	#over;

	constructor(leave, onGap, onPresence) {
		this.#leave = leave;
		Object.assign(this, { onGap, onPresence });
	}

	[Symbol.asyncIterator]() {
		return this;
	}

	push(message) {
		const w = this.#waiting.shift();
		if (w) w.resolve({ value: message, done: false });
		else if (this.#queue.push(message) > BUFFER) this.onGap?.({ address: this.#queue.shift().to, reason: "client_buffer" });
	}

	end(error) {
		this.#over ??= { error };
		for (const w of this.#waiting.splice(0)) error ? w.reject(error) : w.resolve(OVER);
	}

	async next() {
		if (this.#queue.length) return { value: this.#queue.shift(), done: false };
		if (this.#over?.error) throw this.#over.error;
		return this.#over ? OVER : new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
	}

	async return() {
		this.unsubscribe();
		return OVER;
	}

	unsubscribe() {
		this.#leave();
		this.end();
	}
}
