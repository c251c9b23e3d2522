/**
 * FastPubSub for browsers and Node: one module without dependencies that speaks llps.v1 over WebSocket.
 *
 *     import { Client } from 'https://node.example.org/web/fastpubsub.js'
 *     const c = new Client({ url: 'wss://node.example.org/ws' })
 *     c.subscribe('room.#', msg => console.log(msg.channel, msg.text))
 *     await c.publish('room.1', 'hello')
 *
 * fastpubsub.d.ts describes what is exported. Times are in ms.
 *
 * # Connections
 *
 * A Client connects at its first use and stays connected until close(). A lost connection is replaced after a delay drawn
 * from 0 to 250 ms, 500 ms, ... 15 s. A replacement starts as a *candidate*: all subscriptions are made on it, and only once
 * the server has answered each does it become the *active* connection, the one that publications take. Where the active
 * one still works (the server said RECONNECT, or another node is nearer) it goes on meanwhile, and is read for 5 s more
 * afterwards, so that nothing is missed. What both bring is given to the application once.
 *
 * Nodes to choose from come from `urls` and `bootstrap`. If there are several, GET /ping is measured on all; the nearest is
 * taken, and the next one if that fails. Every minute or so all are measured again, and the Client moves when another was
 * nearer by more than max(10 ms, 20 %) twice in a row.
 *
 * # Delivery
 *
 * Messages are given to the subscriptions whose patterns the server lists. Nothing is stored: what is published while the
 * connection is lost is missed. A publication is sent at most once, in order; it may be lost with its connection.
 *
 * # Errors
 *
 * An ERR line names no request. As lines are answered in order, and names are checked here, it is taken as the answer to the
 * oldest SUB or UNSUB under way if its code can be one. That leaves a refused right in doubt while both publishing and subscribing.
 * A subscription refused at first ends; one that was accepted before is tried again on the next connection.
 *
 * # Invariants
 *
 *  1. Publications go to one connection at a time, which holds every subscription that the server does not refuse.
 *  2. Of equal messages a subscription gets, while connections overlap, as many as the connection that brought most of them.
 *  3. All queues are bounded in bytes. The oldest go first, are counted, and where there is a promise it is rejected.
 *  4. Nothing the server sends throws into the application. Malformed frames are dropped, counted and reported as errors.
 *  5. After close() there is no timer, no listener and no connection left, and every promise is settled.
 */

const WORD = '[A-Za-z0-9_~@-]+'
const TENANT = /^[A-Za-z0-9_~@.-]{1,128}$/
const CHANNEL = new RegExp(`^\\$?${WORD}(?:\\.${WORD})*$`)
const PATTERN = new RegExp(`^(?:\\$(?![*>#]))?(?:(?:${WORD}\\*?|\\*)\\.)*(?:${WORD}[*>#]?|[*>#])$`)
const HTTP_TOKEN = /^[\w!#$%&'*+.^`|~-]+$/
const MAX_NAME = 256
const MAX_PAYLOAD = 65535
const MODES = Object.freeze({ broadcast: 0, 'deliver-one-low-latency': 1, 'deliver-one-random': 2 })

// Errors that can be the answer to a SUB or UNSUB. They name no request, but lines are answered in order.
const ANSWERS = new Set(['permission_denied', 'limit_exceeded', 'rate_limited', 'invalid_tenant', 'invalid_pattern', 'unknown_command'])

const OVERLAP_MS = 5_000 // the former connection is read for that long; also how far apart two copies of a message may be
const STABLE_MS = 5_000 // a connection that held for that long starts the delays anew
const CONNECT_MS = 10_000 // without progress, after which a candidate is given up
const PROBE_MS = 3_000 // for an answer of GET /ping, or of a connection that may be dead
const BOOTSTRAP_MS = 5_000
const MAX_EDGES = 64
const OPEN = 1 // WebSocket.OPEN

const encoder = new TextEncoder()
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const lenient = new TextDecoder('utf-8', { ignoreBOM: true })
const now = () => performance.now()

/** What went wrong: a code to branch on and a detail for people. Errors of the server carry its code. */
export class FastPubSubError extends Error {
  constructor(code, detail = '') {
    super(detail ? `${code}: ${detail}` : code)
    Object.assign(this, { name: 'FastPubSubError', code, detail })
  }
}

// ---- names

const isName = (grammar, name) => typeof name === 'string' && name.length <= MAX_NAME && grammar.test(name)

function refuse(code, name) {
  throw new FastPubSubError(code, JSON.stringify(String(name).slice(0, 40)))
}

/** The tenant that a name means, "~" for none. @param {string} [tenant] @returns {string} */
export function checkTenant(tenant = '') {
  return tenant === '' ? '~' : isName(TENANT, tenant) ? tenant : refuse('invalid_tenant', tenant)
}

/** @param {string} channel @returns {string} */
export function checkChannel(channel) {
  return isName(CHANNEL, channel) ? channel : refuse('invalid_channel', channel)
}

/** @param {string} pattern @returns {string} */
export function checkPattern(pattern) {
  return isName(PATTERN, pattern) ? pattern : refuse('invalid_pattern', pattern)
}

/** Tells whether a valid pattern matches a valid channel. @param {string} pattern @param {string} channel @returns {boolean} */
export function matches(pattern, channel) {
  if (channel.startsWith('$') && !pattern.startsWith('$')) return false // the mesh's own are not meant by wildcards
  const tokens = pattern.split('.')
  const names = channel.split('.')
  const last = tokens.at(-1)
  const tail = /[#>]$/.test(last) ? last.slice(-1) : ''
  if (tail) tokens.pop()
  if (tail && last.length > 1) tokens.push(last.slice(0, -1) + '*') // "p#" is "p*", then further tokens
  const further = names.length - tokens.length
  if (tail === '#' ? further < 0 : tail === '>' ? further < 1 : further !== 0) return false
  return tokens.every((t, i) => (t.endsWith('*') ? names[i].startsWith(t.slice(0, -1)) : t === names[i]))
}

// ---- codec

function bytesOf(payload) {
  if (typeof payload === 'string') return encoder.encode(payload)
  if (ArrayBuffer.isView(payload)) return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength)
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload)
  throw new FastPubSubError('invalid_payload', 'want a string, a Uint8Array or an ArrayBuffer')
}

/** The binary message that publishes, version 1 for a broadcast and version 2 for the other modes. @returns {Uint8Array} */
export function encodePublish(channel, payload, { tenant, mode = 'broadcast' } = {}) {
  const names = [checkTenant(tenant), checkChannel(channel)].map(name => encoder.encode(name))
  const body = bytesOf(payload)
  if (body.length > MAX_PAYLOAD) throw new FastPubSubError('payload_too_large', `${body.length} bytes, limit ${MAX_PAYLOAD}`)
  if (!Object.hasOwn(MODES, mode)) refuse('unknown_mode', mode)
  const parts = MODES[mode] === 0 ? [] : [[2, MODES[mode]]]
  for (const name of names) parts.push([name.length >> 8, name.length & 255], name)
  parts.push(body)
  const frame = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    frame.set(part, at)
    at += part.length
  }
  return frame
}

/** A delivered message. */
export class Message {
  constructor(tenant, channel, payload, patterns) {
    Object.assign(this, { tenant, channel, payload, patterns })
  }

  /** The payload as text; what is not UTF-8 becomes U+FFFD. */
  get text() { return lenient.decode(this.payload) }

  /** The payload read as JSON; throws if it is none. */
  json() { return JSON.parse(this.text) }
}

/** Reads a delivery. Throws a FastPubSubError with code bad_delivery. @param {ArrayBuffer} buffer @returns {Message} */
export function decodeDelivery(buffer) {
  const bad = why => { throw new FastPubSubError('bad_delivery', why) }
  const view = new DataView(buffer)
  let at = 1
  const take = n => (n <= buffer.byteLength - at ? (at += n) - n : bad('truncated'))
  const name = () => {
    const n = view.getUint16(take(2))
    const bytes = new Uint8Array(buffer, take(n), n)
    try {
      return strict.decode(bytes) || bad('empty name')
    } catch (error) {
      return bad(error.detail ?? 'name is not UTF-8')
    }
  }
  if (buffer.byteLength === 0 || view.getUint8(0) !== 1) bad('no delivery tag')
  const tenant = name()
  const channel = name()
  const length = view.getUint32(take(4))
  const payload = new Uint8Array(buffer.slice(take(length), at)) // a copy, so that payload.buffer is the payload
  const count = view.getUint16(take(2))
  if (count === 0 || count * 3 > buffer.byteLength - at) bad(`${count} patterns in ${buffer.byteLength - at} bytes`)
  const patterns = Array.from({ length: count }, name)
  if (at !== buffer.byteLength) bad('bytes left over')
  return new Message(tenant, channel, payload, patterns)
}

// ---- decisions

/** The delay before attempt n, counted from 0: full jitter below a bound that doubles. @param {number} n @returns {number} */
export const reconnectDelay = n => Math.random() * Math.min(15_000, 250 * 2 ** n)

/** Tells whether a round trip is so much shorter that moving pays. @param {number} other @param {number} present */
export const isNearer = (other, present) => present - other > Math.max(10, present * 0.2)

/**
 * Finds the second copies among what overlapping connections bring. Each message let through waits, for a window, for one
 * copy from every other connection. A copy takes the latest that waits, so that those from before its connection was
 * subscribed stay behind and expire. Remembers 32,768 messages, and looks through the last 1,024 of equal ones.
 */
export class Overlap {
  #all = new Set() // of { key, at, seen }, oldest first
  #equal = new Map() // key -> the same, by key

  /** @param {object} link who brings it @param {string} key equal for equal messages @param {number} at @returns {boolean} */
  isDuplicate(link, key, at) {
    this.#expire(at)
    const equal = this.#equal.get(key) ?? []
    for (let i = equal.length - 1; i >= Math.max(0, equal.length - 1024); i--) {
      if (equal[i].seen.has(link)) continue
      equal[i].seen.add(link)
      return true
    }
    const item = { key, at, seen: new Set([link]) }
    this.#all.add(item)
    if (equal.push(item) === 1) this.#equal.set(key, equal)
    return false
  }

  #expire(at) {
    for (const item of this.#all) {
      if (item.at > at - OVERLAP_MS && this.#all.size <= 32_768) return
      this.#all.delete(item)
      const equal = this.#equal.get(item.key)
      equal.shift()
      if (equal.length === 0) this.#equal.delete(item.key)
    }
  }
}

const seed = (Math.random() * 2 ** 32) >>> 0

/** A 53-bit hash that stands for a message in Overlap; its seed keeps others from making two messages equal. */
function digest({ tenant, channel, payload }) {
  let h = seed
  let g = ~seed
  for (const bytes of [encoder.encode(`${tenant}:${channel}:`), payload]) {
    for (let i = 0; i < bytes.length; i++) {
      h = Math.imul(h ^ bytes[i], 0x9e3779b1)
      h ^= h >>> 15
      g = Math.imul(g ^ bytes[i], 0x5f356495)
      g ^= g >>> 13
    }
  }
  return (g & 0x1fffff) * 2 ** 32 + (h >>> 0)
}

// ---- subscriptions

/** A promise with its ends. To leave its rejection unheard is no fault. */
class Deferred {
  constructor() {
    this.promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }))
    this.promise.catch(() => {})
  }
}

/** What the server is asked for: all Subscriptions of one tenant and pattern. */
class Interest {
  acknowledged = false
  subscriptions = new Set()
  ready = new Deferred()
  everywhere = new Deferred()

  constructor(tenant, pattern) {
    Object.assign(this, { tenant, pattern, key: `${tenant}:${pattern}` })
  }
}

const cost = message => message.payload.length + 256 // with what a queued message takes beside its payload

/** A subscription: messages go to its handler or, without one, to whoever iterates over it. */
export class Subscription {
  /** How many messages were dropped, oldest first, because the iteration was too slow. */
  dropped = 0
  #queue = []
  #bytes = 0
  #arrival = new Deferred()
  #ended = false
  #error

  constructor(interest, handler, limit, leave) {
    const { tenant, pattern, ready, everywhere } = interest
    Object.assign(this, { tenant, pattern, ready: ready.promise, everywhere: everywhere.promise })
    this.unsubscribe = () => leave(this)
    /** Gives it a message. Not for applications. */
    this.take = handler ? message => call(handler, message) : message => this.#enqueue(message, limit)
    if (handler) this[Symbol.asyncIterator] = () => { throw new TypeError('a subscription with a handler has no messages left to iterate over') }
  }

  #enqueue(message, limit) {
    this.#queue.push(message)
    this.#bytes += cost(message)
    for (let old; this.#bytes > limit && (old = this.#queue.shift()); this.dropped++) this.#bytes -= cost(old)
    this.#arrival.resolve()
  }

  /** Ends it. Not for applications. */
  end(error) {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    this.#arrival.resolve()
  }

  /** Yields messages until the subscription ends. To leave the loop unsubscribes. */
  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        for (let message; (message = this.#queue.shift()); ) {
          this.#bytes -= cost(message)
          yield message
        }
        if (this.#error) throw this.#error
        if (this.#ended) return
        await this.#arrival.promise
        this.#arrival = new Deferred()
      }
    } finally {
      this.unsubscribe()
    }
  }
}

/** Calls into the application. Its exceptions are shown as uncaught ones, but stop nobody else. */
function call(listener, value) {
  try {
    listener(value)
  } catch (error) {
    queueMicrotask(() => { throw error })
  }
}

// ---- the client

/** One WebSocket connection, and what was asked on it. */
class Link {
  told = false // to reconnect
  heardAt = 0
  pingAt = 0
  pong // Deferred, while a PING is under way
  requests = [] // without answer, oldest first
  waiting = new Set() // Interests not yet answered, with those that must be asked for again
  refusals = 0
  timer = 0 // of the role it has
  again = 0 // timer

  constructor(url, ws) {
    Object.assign(this, { url, ws })
  }

  get isOpen() { return this.ws.readyState === OPEN }

  ask(word, interest) {
    if (!this.isOpen) return
    if (word === 'SUB') this.waiting.add(interest)
    else this.waiting.delete(interest)
    this.requests.push({ ack: `OK:${word}:${interest.key}`, interest, word })
    this.ws.send(`${word}:${interest.key}`)
  }

  /** Asks again, later, for what was refused for now. */
  askLater() {
    this.again ||= setTimeout(() => {
      this.again = 0
      const asked = new Set(this.requests.map(request => request.interest))
      for (const interest of this.waiting) if (!asked.has(interest)) this.ask('SUB', interest)
    }, 250 + reconnectDelay(this.refusals++))
  }
}

/** A client that stays connected to the nearest node. The head of this file says how. */
export class Client {
  /** idle, connecting, open, moving, lost or closed */
  status = 'idle'
  /** The last round trip to the node and back. @type {number | undefined} */
  rtt
  stats = { connected: 0, moved: 0, dropped: 0, duplicates: 0, malformed: 0 }

  #o // options
  #known // URLs of the nodes to choose from
  #interests = new Map() // by key
  #links = new Set()
  #active
  #candidate
  #choosing = false
  #attempt = 0
  #openedAt = 0
  #overlap = new Overlap()
  #overlapUntil = 0
  #avoid = new Set() // nodes that failed since the last success
  #nearer = 0 // measurements in a row that found a nearer node
  #queue = [] // publications: { frame, sent }
  #queued = 0 // bytes of them
  #timers = { retry: 0, pump: 0, measure: 0, wake: 0 }
  #fetches = new Set() // AbortControllers
  #opening = new Deferred()
  #listeners = new Map()

  /** @param {import('./fastpubsub.d.ts').ClientOptions} [options] */
  constructor(options = {}) {
    const { url, urls = url ? [url] : [], bootstrap, token } = options
    const given = urls.length || bootstrap || !globalThis.location ? urls : ['/ws']
    this.#o = {
      urls: given.map(socketURL),
      bootstrap: bootstrap && new URL(bootstrap, globalThis.location?.href).href,
      protocols: token ? ['llps.v1', `at.${token}`] : ['llps.v1'],
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      fetch: options.fetch ?? ((...args) => globalThis.fetch(...args)),
      queueBytes: options.queueBytes ?? 256 << 10,
      bufferedBytes: options.bufferedBytes ?? 64 << 10,
      iterationBytes: options.iterationBytes ?? 1 << 20,
      pingMs: options.pingMs ?? 5_000,
      pongMs: options.pongMs ?? 10_000,
      measureMs: options.measureMs ?? 60_000,
    }
    if (!this.#o.WebSocket) throw new TypeError('no WebSocket here: pass one, or run node --experimental-websocket')
    if (token && !HTTP_TOKEN.test(token)) throw new TypeError('the token has bytes that no token has')
    if (!given.length && !bootstrap) throw new TypeError('no url, urls or bootstrap')
    this.#known = this.#o.urls
  }

  /** The node in use. @returns {string | undefined} */
  get url() { return this.#active?.url }

  /** Bytes of publications that wait to be sent. */
  get queuedBytes() { return this.#queued }

  /** Listens to an event; the result ends that. @param {string} event @param {(value: any) => void} listener */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners.add(listener))
    return () => { listeners.delete(listener) }
  }

  /** Connects, and resolves once connected. There is no need to call it. @returns {Promise<void>} */
  connect() {
    this.#start()
    return this.#opening.promise
  }

  /** Subscribes: ([tenant,] pattern [, handler]). Throws on an invalid name. @returns {Subscription} */
  subscribe(first, second, third) {
    const [tenant, pattern, handler] = typeof second === 'string' ? [first, second, third] : ['', first, second]
    const wanted = new Interest(checkTenant(tenant), checkPattern(pattern))
    if (this.status === 'closed') throw new FastPubSubError('closed')
    const interest = this.#interests.get(wanted.key) ?? wanted
    const subscription = new Subscription(interest, handler, this.#o.iterationBytes, s => this.#leave(interest, s))
    interest.subscriptions.add(subscription)
    if (interest === wanted) {
      this.#interests.set(interest.key, interest)
      for (const link of [this.#active, this.#candidate]) link?.ask('SUB', interest)
    }
    this.#start()
    return subscription
  }

  /**
   * Publishes. The promise resolves when the message is handed to a connection that has not too much to send already;
   * to await it is how to keep pace. Without a connection messages wait, `queueBytes` at most: beyond, the oldest are dropped,
   * counted in stats.dropped, and their promises rejected with code "dropped". An unheard rejection of that kind is no fault.
   * @returns {Promise<void>}
   */
  publish(channel, payload, options) {
    const item = { frame: undefined, sent: new Deferred() }
    try {
      if (this.status === 'closed') throw new FastPubSubError('closed')
      item.frame = encodePublish(channel, payload, options)
    } catch (error) {
      return Promise.reject(error)
    }
    this.#start()
    this.#queue.push(item)
    this.#queued += item.frame.length
    this.#pump()
    for (let old; this.#queued > this.#o.queueBytes && (old = this.#queue.shift()); this.stats.dropped++) {
      this.#queued -= old.frame.length
      old.sent.reject(new FastPubSubError('dropped', 'too many publications wait'))
    }
    return item.sent.promise
  }

  /** Measures the round trip to the node. @returns {Promise<number>} */
  ping() {
    const link = this.#active
    if (!link?.isOpen) return Promise.reject(new FastPubSubError('not_connected'))
    if (!link.pong) {
      link.pong = new Deferred()
      link.pingAt = now()
      link.ws.send('PING')
    }
    return link.pong.promise
  }

  /** Ends everything. A closed Client stays closed. */
  close() {
    if (this.status === 'closed') return
    const closed = new FastPubSubError('closed')
    globalThis.removeEventListener?.('online', this.#wake)
    globalThis.document?.removeEventListener('visibilitychange', this.#wake)
    for (const timer of Object.values(this.#timers)) clearTimeout(timer)
    this.#setStatus('closed')
    for (const abort of this.#fetches) abort.abort()
    for (const link of [...this.#links]) this.#gone(link, 'closed')
    for (const { sent } of this.#queue.splice(0)) sent.reject(closed)
    this.#queued = 0
    for (const interest of [...this.#interests.values()]) this.#end(interest, undefined, closed)
    this.#opening.reject(closed)
  }

  #start() {
    if (this.status !== 'idle') return
    globalThis.addEventListener?.('online', this.#wake)
    globalThis.document?.addEventListener('visibilitychange', this.#wake)
    this.#setStatus('connecting')
    this.#seek()
  }

  #setStatus(status) {
    if (this.status === status || this.status === 'closed') return
    this.status = status
    this.#emit('status', status)
  }

  #emit(event, value) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) call(listener, value)
  }

  // -- choosing a node

  /** Opens a candidate, unless that is under way. */
  async #seek(url) {
    if (this.#candidate || this.#choosing) return
    clearTimeout(this.#timers.retry)
    this.#timers.retry = 0
    if (this.#active) this.#setStatus('moving')
    this.#choosing = true
    try {
      url ??= await this.#choose()
      if (this.status !== 'closed') this.#open(url)
    } catch (error) {
      this.#failed(url, error.message)
    } finally {
      this.#choosing = false
    }
  }

  /** What to do after an attempt that came to nothing. */
  #failed(url, why) {
    if (this.status === 'closed') return
    if (url) this.#avoid.add(url)
    this.#emit('error', new FastPubSubError('connect_failed', `${url ?? 'no node'}: ${why}`))
    if (this.#active && !this.#active.told) this.#setStatus('open') // it was only about a nearer node
    else this.#seekLater()
  }

  #seekLater() {
    clearTimeout(this.#timers.retry)
    this.#timers.retry = setTimeout(() => this.#seek(), reconnectDelay(this.#attempt++))
  }

  /** Seeks a successor of the active connection, which may be lost already. */
  #replace() {
    if (now() - this.#openedAt >= STABLE_MS) this.#attempt = 0
    if (this.#candidate || this.#choosing || this.#timers.retry) return
    const inOrder = this.#active && this.#attempt === 0
    if (this.#active && this.#known.length > 1) this.#avoid.add(this.#active.url)
    if (!inOrder) return this.#seekLater()
    this.#attempt++ // so that a server which says RECONNECT to everyone makes no busy loop
    this.#seek()
  }

  /** The best node that did not fail just now. */
  async #choose() {
    await this.#discover()
    if (this.#known.every(url => this.#avoid.has(url))) this.#avoid.clear()
    const left = this.#known.filter(url => !this.#avoid.has(url))
    if (left.length === 1) return left[0]
    const [best] = await this.#measure(left)
    return best?.url ?? left[Math.floor(Math.random() * left.length)]
  }

  /** Asks the bootstrap URL for the list of nodes or, if it fails, nodes known already. If they fail too, the list stays. */
  async #discover() {
    const { bootstrap, urls } = this.#o
    if (!bootstrap) return
    const others = this.#known.slice(0, 3).map(url => httpURL(url, 'v1/bootstrap'))
    const found = await this.#edges(bootstrap).catch(() => Promise.any(others.map(url => this.#edges(url)))).catch(() => this.#known)
    this.#known = [...new Set([...found, ...urls])]
    if (!this.#known.length) throw new FastPubSubError('no_edges', `nothing from ${bootstrap}`)
  }

  /** Reads a bootstrap list. */
  async #edges(url) {
    const { edges } = JSON.parse(await this.#get(url, BOOTSTRAP_MS))
    const scheme = url.startsWith('https:') ? 'wss' : 'ws'
    const hosts = edges.map(edge => edge?.host ?? edge).filter(host => typeof host === 'string' && host)
    const found = hosts.map(host => `${scheme}://${host}/ws`).filter(edge => URL.canParse(edge))
    if (!found.length) throw new FastPubSubError('no_edges', url)
    return found.slice(0, MAX_EDGES).map(socketURL)
  }

  async #get(url, ms) {
    if (this.status === 'closed') throw new FastPubSubError('closed')
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), ms)
    this.#fetches.add(abort)
    try {
      const response = await this.#o.fetch(url, { cache: 'no-store', credentials: 'omit', signal: abort.signal })
      if (!response.ok) throw new FastPubSubError('http', `${response.status} from ${url}`)
      return await response.text()
    } finally {
      clearTimeout(timer)
      this.#fetches.delete(abort)
    }
  }

  /**
   * Measures nodes in parallel, and sorts those that answered by round trip. The first request of two opens the connection
   * and does not count. Once one node is measured, others have 100 ms more to show that they are nearer.
   */
  async #measure(urls) {
    const found = []
    let timer = 0
    await new Promise(enough => {
      const probes = urls.map(async url => {
        for (const counts of [false, true]) {
          const sent = now()
          const answer = await this.#get(httpURL(url, 'ping'), PROBE_MS)
          if (answer.trim() !== 'pong') return
          if (counts) found.push({ url, rtt: now() - sent })
        }
        timer ||= setTimeout(enough, 100)
      })
      Promise.allSettled(probes).then(enough)
    })
    clearTimeout(timer)
    return found.sort((a, b) => a.rtt - b.rtt)
  }

  /** Looks for a nearer node now and then. */
  #schedule() {
    clearTimeout(this.#timers.measure)
    if (!this.#active || (!this.#o.bootstrap && this.#known.length < 2)) return
    this.#timers.measure = setTimeout(async () => {
      const here = this.#active
      await this.#discover()
      const ranked = await this.#measure([...new Set([...this.#known, here.url])])
      if (here !== this.#active) return // whose successor has its own schedule
      const present = ranked.find(({ url }) => url === here.url)
      this.#nearer = present && isNearer(ranked[0].rtt, present.rtt) ? this.#nearer + 1 : 0
      if (this.#nearer >= 2) {
        this.#nearer = 0
        this.#seek(ranked[0].url)
      }
      this.#schedule()
    }, this.#o.measureMs * (0.75 + Math.random() / 2))
  }

  // -- the life of a connection

  #open(url) {
    const ws = new this.#o.WebSocket(url, this.#o.protocols)
    const link = new Link(url, ws)
    ws.binaryType = 'arraybuffer'
    ws.onopen = () => this.#opened(link)
    ws.onmessage = ({ data }) => this.#heard(link, data)
    ws.onclose = ({ code, reason }) => this.#gone(link, `closed with ${code} ${reason}`)
    ws.onerror = () => this.#gone(link, 'connection failed') // Node does not always say "close" as well
    this.#links.add(link)
    this.#candidate = link
    this.#expect(link)
  }

  /** Gives up a candidate that makes no progress. */
  #expect(link) {
    if (link !== this.#candidate) return
    clearTimeout(link.timer)
    link.timer = setTimeout(() => this.#gone(link, 'no answer'), CONNECT_MS)
  }

  #opened(link) {
    if (link.ws.protocol !== 'llps.v1') return this.#gone(link, 'does not speak llps.v1')
    this.#expect(link)
    for (const interest of this.#interests.values()) link.ask('SUB', interest)
    this.#settle(link)
  }

  /** Makes a candidate the active connection once nothing is left to be answered. */
  #settle(link) {
    if (link !== this.#candidate || !link.isOpen || link.waiting.size > 0) return
    const former = this.#active
    clearTimeout(link.timer)
    this.#active = link
    this.#candidate = undefined
    this.#avoid.clear()
    this.#openedAt = now()
    this.#nearer = 0
    this.rtt = undefined
    this.stats.connected++
    if (former) {
      this.stats.moved++
      clearTimeout(former.timer)
      former.timer = setTimeout(() => this.#gone(former, 'replaced'), OVERLAP_MS)
    }
    this.#opening.resolve()
    this.#setStatus('open')
    this.#beat(link)
    this.#pump()
    this.#schedule()
    if (link.told) this.#replace()
  }

  /** Ends a connection, whatever it was. */
  #gone(link, why) {
    if (!this.#links.delete(link)) return
    this.#overlapUntil = now() + OVERLAP_MS
    clearTimeout(link.timer)
    clearTimeout(link.again)
    const { ws } = link
    ws.onopen = ws.onmessage = ws.onclose = null
    ws.onerror = () => {} // for implementations that throw an error that nobody listens to
    if (ws.readyState <= OPEN) ws.close()
    link.pong?.reject(new FastPubSubError('not_connected', why))
    if (link === this.#candidate) {
      this.#candidate = undefined
      this.#failed(link.url, why)
    } else if (link === this.#active) {
      this.#active = undefined
      this.rtt = undefined
      clearTimeout(this.#timers.measure)
      clearTimeout(this.#timers.pump)
      if (this.status === 'closed') return
      this.#opening = new Deferred()
      this.#setStatus('lost')
      this.#replace()
    }
  }

  /** Tests the active connection: now, and again after a while. */
  #beat(link) {
    if (link !== this.#active) return
    if (link.pong && now() - Math.max(link.pingAt, link.heardAt) >= this.#o.pongMs) return this.#gone(link, 'no answer')
    this.ping().catch(() => {})
    link.timer = setTimeout(() => this.#beat(link), this.#o.pingMs)
  }

  /** The device woke up or is online again: do not wait for what was due, and trust no old connection. */
  #wake = () => {
    if (globalThis.document?.hidden) return
    if (this.#timers.retry) {
      this.#attempt = 0
      this.#seek()
    }
    const link = this.#active
    if (!link) return
    const woken = now()
    this.ping().catch(() => {})
    clearTimeout(this.#timers.wake)
    this.#timers.wake = setTimeout(() => { if (link.heardAt < woken) this.#gone(link, 'no answer') }, PROBE_MS)
  }

  /** Sends what waits, as far as the connection takes it. */
  #pump() {
    clearTimeout(this.#timers.pump)
    const link = this.#active
    while (this.#queue.length && link?.isOpen && link.ws.bufferedAmount < this.#o.bufferedBytes) {
      const { frame, sent } = this.#queue.shift()
      this.#queued -= frame.length
      link.ws.send(frame)
      sent.resolve()
    }
    if (this.#queue.length && link) this.#timers.pump = setTimeout(() => this.#pump(), 5) // no event tells that there is room
  }

  // -- what the server says

  #heard(link, data) {
    link.heardAt = now()
    if (typeof data !== 'string') this.#deliver(link, data)
    else if (data === 'PONG') this.#ponged(link)
    else if (data.startsWith('OK:')) this.#acknowledged(link, data)
    else if (data.startsWith('READY:')) this.#isEverywhere(data.slice('READY:'.length))
    else if (data.startsWith('ERR:')) this.#refused(link, data.slice('ERR:'.length))
    else if (data === 'RECONNECT') {
      link.told = true
      if (link === this.#active) this.#replace()
    } // other lines are for newer clients
  }

  #ponged(link) {
    if (!link.pong) return
    const rtt = now() - link.pingAt
    link.pong.resolve(rtt)
    link.pong = undefined
    if (link !== this.#active) return
    this.rtt = rtt
    this.#emit('rtt', rtt)
  }

  #acknowledged(link, ack) {
    const at = link.requests.findIndex(request => request.ack === ack)
    if (at < 0) return
    const [{ interest, word }] = link.requests.splice(at, 1)
    if (word === 'SUB') {
      link.waiting.delete(interest)
      interest.acknowledged = true
      interest.ready.resolve()
    }
    this.#expect(link)
    this.#settle(link)
  }

  #isEverywhere(key) {
    const interest = this.#interests.get(key)
    if (interest?.acknowledged) interest.everywhere.resolve()
  }

  #refused(link, line) {
    const [code] = line.split(':', 1)
    const detail = line.slice(code.length + 1)
    if (code === 'slow_consumer') return this.#emit('slow', Number.parseInt(detail, 10) || 0)
    const request = ANSWERS.has(code) ? link.requests.shift() : undefined
    const error = new FastPubSubError(code, [request?.interest.key, detail].filter(Boolean).join(': '))
    if (request?.word === 'SUB') {
      const { interest } = request
      if (code === 'rate_limited') link.askLater()
      else link.waiting.delete(interest)
      if (code !== 'rate_limited' && !interest.acknowledged) this.#end(interest, error) // else the next connection tries again
    }
    this.#emit('error', error)
    this.#expect(link)
    this.#settle(link)
  }

  #deliver(link, data) {
    let message
    try {
      message = decodeDelivery(data)
    } catch (error) {
      this.stats.malformed++
      return this.#emit('error', error)
    }
    const at = now()
    const hash = this.#links.size > 1 || at < this.#overlapUntil ? digest(message) : undefined
    for (const pattern of new Set(message.patterns)) {
      const interest = this.#interests.get(`${message.tenant}:${pattern}`)
      if (!interest) continue // ended meanwhile
      // Each pattern by itself, since a candidate does not have all of them from the start.
      if (hash !== undefined && this.#overlap.isDuplicate(link, `${hash}:${pattern}`, at)) this.stats.duplicates++
      else for (const subscription of [...interest.subscriptions]) subscription.take(message)
    }
  }

  // -- the end of subscriptions

  #leave(interest, subscription) {
    subscription.end()
    if (!interest.subscriptions.delete(subscription) || interest.subscriptions.size > 0) return
    for (const link of [this.#active, this.#candidate]) link?.ask('UNSUB', interest)
    this.#end(interest)
    if (this.#candidate) this.#settle(this.#candidate)
  }

  /** Ends an interest: with an error its subscriptions fail, otherwise they end quietly and only what they wait for is rejected. */
  #end(interest, error, reason = error ?? new FastPubSubError('unsubscribed')) {
    if (this.#interests.get(interest.key) === interest) this.#interests.delete(interest.key)
    for (const subscription of interest.subscriptions) subscription.end(error)
    interest.subscriptions.clear()
    interest.ready.reject(reason)
    interest.everywhere.reject(reason)
  }
}

/** The WebSocket URL that a URL means, which may be relative to the page. */
const socketURL = url => new URL(url, globalThis.location?.href).href.replace(/^http/, 'ws')

/** A page of the node with that WebSocket URL. */
const httpURL = (url, page) => new URL(page, url.replace(/^ws/, 'http')).href
