// A network of fake nodes for fastpubsub.test.js: FakeNet stands in for WebSocket and fetch. Time is that of mock timers.

import { mock } from 'node:test'
import { matches } from '../fastpubsub.js'

const encoder = new TextEncoder()

/** Lets promises settle; mock timers leave setImmediate alone. */
export const settle = async () => {
  for (let i = 0; i < 5; i++) await new Promise(resolve => setImmediate(resolve))
}

/** Moves time on, in steps that let promises settle in between. */
export async function advance(ms, step = 5) {
  await settle()
  for (let t = 0; t < ms; t += step) {
    mock.timers.tick(Math.min(step, ms - t))
    await settle()
  }
}

/** A delivery as a node writes it. */
export function delivery(tenant, channel, payload, patterns) {
  const s = text => {
    const b = encoder.encode(text)
    return [b.length >> 8, b.length & 255, ...b]
  }
  const body = typeof payload === 'string' ? encoder.encode(payload) : payload
  const n = body.length
  const frame = [1, ...s(tenant), ...s(channel), n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255, ...body]
  frame.push(patterns.length >> 8, patterns.length & 255, ...patterns.flatMap(s))
  return new Uint8Array(frame).buffer
}

/** One end of a connection, as the client sees it; `lines` and `frames` are what came, `say` is what the node says. */
class FakeSocket {
  readyState = 0
  bufferedAmount = 0
  protocol = ''
  lines = []
  frames = []
  held = new Map() // "tenant:pattern" -> pattern
  onopen = null
  onmessage = null
  onclose = null
  onerror = null

  constructor(net, url, protocols) {
    Object.assign(this, { net, url, protocols, node: net.node(new URL(url).host) })
    net.sockets.push(this)
    net.later(() => {
      if (this.readyState !== 0 || this.node.silent) return
      if (this.node.down) return this.cut(1006, true)
      this.readyState = 1
      this.protocol = this.node.protocol
      this.onopen?.({})
      if (this.node.greeting) this.say(this.node.greeting)
    }, this.node.delay * 2)
  }

  send(data) {
    if (this.readyState !== 1) return
    if (typeof data !== 'string') {
      this.frames.push(data)
      this.bufferedAmount += this.node.stuck ? data.length : 0
      return
    }
    this.lines.push(data)
    this.net.later(() => this.readyState === 1 && !this.node.silent && this.answer(data), this.node.delay * 2)
  }

  answer(line) {
    const [word, tenant, pattern] = line.split(':')
    const refused = this.node.refuse?.(line) // what to say instead; '' is nothing
    if (refused !== undefined) return refused && this.say(refused)
    if (line === 'PING') return this.say('PONG')
    if (word === 'SUB') this.held.set(`${tenant}:${pattern}`, pattern)
    if (word === 'UNSUB') this.held.delete(`${tenant}:${pattern}`)
    this.say(`OK:${line}`)
  }

  say(data) {
    if (this.readyState === 1) this.onmessage?.({ data })
  }

  /** Delivers a message as a node does, if it matches something. */
  deliver(tenant, channel, payload) {
    const patterns = [...this.held].filter(([key, p]) => key.startsWith(tenant + ':') && matches(p, channel)).map(([, p]) => p)
    if (patterns.length) this.say(delivery(tenant, channel, payload, patterns))
  }

  /** The node ends the connection. */
  cut(code = 1001, failed = false) {
    if (this.readyState === 3) return
    this.readyState = 3
    if (failed) this.onerror?.({})
    this.onclose?.({ code, reason: '' })
  }

  close() {
    this.readyState = 3
    this.closedByClient = true
  }
}

export class FakeNet {
  sockets = []
  nodes = new Map()
  timers = new Set() // of the client that have neither fired nor been cleared
  fetched = []

  constructor() {
    const net = this
    this.WebSocket = class extends FakeSocket {
      constructor(url, protocols) {
        super(net, url, protocols)
      }
    }
    this.fetch = (url, { signal }) => this.#fetch(new URL(url), signal)
    this.#countTimers()
  }

  /** A node as the test shapes it; delay is one way, in ms. */
  node(host) {
    if (!this.nodes.has(host)) this.nodes.set(host, { delay: 1, protocol: 'llps.v1', down: false, silent: false, stuck: false, edges: [] })
    return this.nodes.get(host)
  }

  get open() {
    return this.sockets.filter(s => s.readyState === 1)
  }

  get last() {
    return this.sockets.at(-1)
  }

  #fetch(url, signal) {
    this.fetched.push(url.href)
    const node = this.node(url.host)
    const setup = node.met ? 0 : (node.setup ?? 0) // of the first connection
    node.met = true
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('aborted')))
      if (node.silent) return
      this.later(() => {
        if (node.down) return reject(new Error('refused'))
        const body = url.pathname === '/ping' ? (node.body ?? ' pong\n') : JSON.stringify({ edges: node.edges })
        resolve({ ok: true, status: 200, text: async () => body })
      }, node.delay * 2 + setup)
    })
  }

  #countTimers() {
    const { setTimeout: set, clearTimeout: clear } = globalThis
    this.later = set
    this.restore = () => Object.assign(globalThis, { setTimeout: set, clearTimeout: clear })
    globalThis.setTimeout = (run, ms) => {
      const id = set(() => {
        this.timers.delete(id)
        run()
      }, ms)
      this.timers.add(id)
      return id
    }
    globalThis.clearTimeout = id => {
      this.timers.delete(id)
      clear(id)
    }
  }
}
