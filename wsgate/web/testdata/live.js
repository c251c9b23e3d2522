// The module against real gateways: node --experimental-websocket live.js <host of a> <host of b> <control URL>
// It ends by itself, which shows that a closed client leaves nothing behind.

import assert from 'node:assert/strict'
import { Client } from '../fastpubsub.js'

const [a, b, control] = process.argv.slice(2)
const bootstrap = `http://${a}/v1/bootstrap`
const order = async what => assert.ok((await fetch(`${control}/${what}`, { method: 'POST' })).ok)
const step = text => console.log(text)

/** Resolves when the client has that status. */
const reaches = (c, status) => new Promise(resolve => {
  if (c.status === status) return resolve()
  const off = c.on('status', s => s === status && (off(), resolve()))
})

/** An iterator's next message that is none of `but`. */
async function next(iterator, ...but) {
  for (;;) {
    const { value, done } = await iterator.next()
    assert.ok(!done)
    if (!but.includes(value.text)) return value
  }
}

const publisher = new Client({ url: `ws://${a}/ws` })
const reader = new Client({ url: `ws://${b}/ws` })
const room = reader.subscribe('test', 'room.#')
const messages = room[Symbol.asyncIterator]()
await room.ready

step('a message of text, one of bytes, an empty one, and the largest')
const largest = new Uint8Array(65_535).map((_, i) => i * 7)
for (const payload of ['héllo', new Uint8Array([0, 255]), '', largest.buffer]) {
  await publisher.publish('room.1', payload, { tenant: 'test' })
  const m = await next(messages)
  assert.deepEqual([m.tenant, m.channel, m.patterns], ['test', 'room.1', ['room.#']])
  assert.deepEqual(Buffer.from(m.payload), Buffer.from(payload))
}

step('to one subscriber')
for (const mode of ['deliver-one-low-latency', 'deliver-one-random']) {
  await publisher.publish('room.2', mode, { tenant: 'test', mode })
  assert.equal((await next(messages)).text, mode)
}

step('several patterns, one message; then none')
const got = []
const star = reader.subscribe('test', '*.3', m => got.push(m.patterns.length))
await star.ready
await publisher.publish('room.3', 'x', { tenant: 'test' })
await next(messages)
assert.deepEqual(got, [2])
star.unsubscribe()
await publisher.publish('room.3', 'y', { tenant: 'test' })
assert.equal((await next(messages)).text, 'y')
assert.deepEqual(got, [2])

step('the round trip')
assert.ok((await publisher.ping()) > 0)
assert.ok(publisher.rtt > 0)

step('a subscription too many is refused, and only that')
const refused = new Promise(resolve => publisher.on('error', resolve))
const many = Array.from({ length: 21 }, (_, i) => publisher.subscribe(`many.${i}`))
await assert.rejects(many[20].ready, { code: 'limit_exceeded' })
assert.equal((await refused).code, 'limit_exceeded')
await Promise.all(many.slice(0, 20).map(s => s.ready))
many.forEach(s => s.unsubscribe())

step('a thousand messages in order')
let sent = Promise.resolve()
for (let i = 0; i < 1_000; i++) sent = await publisher.publish('room.4', String(i), { tenant: 'test' })
for (let i = 0; i < 1_000; i++) assert.equal((await next(messages)).text, String(i))

step('both nodes restart: what was published meanwhile arrives')
const lost = Promise.all([reaches(publisher, 'lost'), reaches(reader, 'lost')])
await order('halt/0')
await order('halt/1')
await lost
await order('start/1')
await reaches(reader, 'open')
const waiting = publisher.publish('room.5', 'after the storm', { tenant: 'test' })
await order('start/0')
await waiting
assert.equal((await next(messages)).text, 'after the storm')
assert.ok(publisher.status === 'open' && reader.stats.connected >= 2)

step('a node goes for good: its client is at the other one soon')
const rover = new Client({ bootstrap })
const here = rover.subscribe('test', 'room.#')
await here.ready
const first = rover.url
assert.ok([`ws://${a}/ws`, `ws://${b}/ws`].includes(first))
const gone = reaches(rover, 'lost')
await order(first.includes(a) ? 'halt/0' : 'halt/1')
await gone
await reaches(rover, 'open')
assert.notEqual(rover.url, first)
const roving = here[Symbol.asyncIterator]()
await rover.publish('room.6', 'from elsewhere', { tenant: 'test' })
assert.equal((await next(roving)).text, 'from elsewhere')

for (const c of [publisher, reader, rover]) {
  assert.equal(c.stats.malformed + c.stats.dropped, 0)
  c.close()
}
step('done')
