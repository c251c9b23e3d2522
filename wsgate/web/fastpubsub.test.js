// Tests of fastpubsub.js against fake nodes, in mock time. The invariants named are those at its head.
// Run: node --test wsgate/web/fastpubsub.test.js

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import * as fps from './fastpubsub.js'
import { FakeNet, advance, delivery } from './testdata/fakenet.js'

const vectors = JSON.parse(readFileSync(new URL('./testdata/vectors.json', import.meta.url), 'utf8'))
const fromHex = hex => new Uint8Array(Buffer.from(hex, 'hex'))
const toHex = bytes => Buffer.from(bytes).toString('hex')
const hasCode = code => error => error instanceof fps.FastPubSubError && error.code === code

/** Random numbers that can be had again: mulberry32. */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('vectors shared with the Go code', () => {
  test('publications', () => {
    for (const { tenant, channel, mode, payload, frame } of vectors.publish) {
      assert.equal(toHex(fps.encodePublish(channel, fromHex(payload), { tenant, mode })), frame)
    }
  })

  test('deliveries', () => {
    for (const { tenant, channel, payload, patterns, frame } of vectors.deliveries) {
      const m = fps.decodeDelivery(fromHex(frame).buffer)
      assert.deepEqual([m.tenant, m.channel, toHex(m.payload), m.patterns], [tenant, channel, payload, patterns])
      assert.equal(m.payload.buffer.byteLength, m.payload.length)
    }
  })

  test('malformed deliveries', () => {
    for (const frame of vectors.malformed) assert.throws(() => fps.decodeDelivery(fromHex(frame).buffer), hasCode('bad_delivery'), frame)
    assert.throws(() => fps.decodeDelivery(delivery('t', 'a', '', ['a']).slice(0, -1)), hasCode('bad_delivery'))
    assert.throws(() => fps.decodeDelivery(new Uint8Array([1, 0, 1, 0xff, 0, 1, 97, 0, 0, 0, 0, 0, 1, 0, 1, 97]).buffer), /not UTF-8/)
  })

  test('names', () => {
    assert.equal(fps.checkTenant(''), vectors.default_tenant)
    assert.equal(fps.checkTenant(), vectors.default_tenant)
    for (const [kind, check] of [['tenants', fps.checkTenant], ['channels', fps.checkChannel], ['patterns', fps.checkPattern]]) {
      for (const name of vectors[kind].valid) assert.equal(check(name), name)
      for (const name of vectors[kind].invalid) assert.throws(() => check(name), hasCode('invalid_' + kind.slice(0, -1)), name)
      for (const name of [null, 7, {}, ['a']]) assert.throws(() => check(name), hasCode('invalid_' + kind.slice(0, -1)))
    }
  })

  test('matching', () => {
    for (const { pattern, yes, no } of vectors.matches) {
      for (const name of yes) assert.ok(fps.matches(pattern, name), `${pattern} ${name}`)
      for (const name of no) assert.ok(!fps.matches(pattern, name), `${pattern} ${name}`)
    }
  })
})

test('payloads of all kinds, and their limits', () => {
  const want = toHex(fps.encodePublish('a', 'hé'))
  const bytes = new TextEncoder().encode('xhéx')
  assert.equal(toHex(fps.encodePublish('a', bytes.subarray(1, -1))), want)
  assert.equal(toHex(fps.encodePublish('a', bytes.slice(1, -1).buffer)), want)
  assert.equal(toHex(fps.encodePublish('a', new DataView(bytes.buffer, 1, 3))), want)
  assert.equal(fps.encodePublish('a', new Uint8Array(65535)).length, 2 + 1 + 2 + 1 + 65535)
  assert.throws(() => fps.encodePublish('a', new Uint8Array(65536)), hasCode('payload_too_large'))
  assert.throws(() => fps.encodePublish('a', 7), hasCode('invalid_payload'))
  assert.throws(() => fps.encodePublish('a', '', { mode: 'toString' }), hasCode('unknown_mode'))
  assert.throws(() => fps.encodePublish('a.*', ''), hasCode('invalid_channel'))
})

test('delays have full jitter below a bound that doubles', () => {
  for (let n = 0; n < 60; n++) {
    const bound = Math.min(15_000, 250 * 2 ** n)
    const drawn = Array.from({ length: 200 }, () => fps.reconnectDelay(n))
    assert.ok(Math.min(...drawn) < bound / 4 && Math.max(...drawn) > (bound * 3) / 4 && Math.max(...drawn) <= bound, `${n}`)
  }
})

test('another node is nearer only by a margin', () => {
  for (const [other, present, nearer] of [[1, 11.1, true], [1, 11, false], [80, 101, true], [80.1, 100, false], [5, 4, false]]) {
    assert.equal(fps.isNearer(other, present), nearer, `${other} ${present}`)
  }
})

describe('overlap', () => {
  test('gives the maximum of what two connections bring', () => { // invariant 2
    for (let seed = 0; seed < 300; seed++) {
      const random = seeded(seed)
      const overlap = new fps.Overlap()
      const links = [{}, {}]
      const counts = new Map()
      for (let i = 0, at = 0; i < 200; i++, at += random() * 20) {
        const key = 'abc'[Math.floor(random() * 3)]
        const n = Math.floor(random() * 2)
        const c = counts.get(key) ?? { by: [0, 0], given: 0 }
        counts.set(key, c)
        c.by[n]++
        if (!overlap.isDuplicate(links[n], key, at)) c.given++
        assert.equal(c.given, Math.max(...c.by), `seed ${seed}, step ${i}`)
      }
    }
  })

  test('drops no equal messages that are sent again and again', () => {
    const overlap = new fps.Overlap()
    const [former, latter] = [{}, {}]
    let given = 0
    for (let at = 0; at < 20_000; at += 100) {
      // The latter connection comes at 1 s, the former goes at 6 s. Either may be the first to bring a message.
      const bring = [at < 6_000 && [former, at], at >= 1_000 && [latter, at + (at % 300) - 100]].filter(Boolean)
      bring.sort((a, b) => a[1] - b[1])
      for (const [link, when] of bring) if (!overlap.isDuplicate(link, 'tick', when)) given++
    }
    // Where the latter leads, what it brings is taken for a copy of an earlier one; so one in all may be missing at the end.
    assert.ok(given === 199 || given === 200, `${given} of 200`)
  })

  test('forgets', () => {
    const overlap = new fps.Overlap()
    const [a, b] = [{}, {}]
    assert.equal(overlap.isDuplicate(a, 'k', 0), false)
    assert.equal(overlap.isDuplicate(b, 'k', 5_000), false)
    for (let i = 0; i < 40_000; i++) overlap.isDuplicate(a, `k${i}`, 5_001)
    assert.equal(overlap.isDuplicate(b, 'k0', 5_001), false, 'the oldest is beyond the bound')
    assert.equal(overlap.isDuplicate(b, 'k39999', 5_001), true)
  })
})

describe('client', () => {
  /** @type {FakeNet} */
  let net
  let clients = []
  let problems = []

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
    mock.method(performance, 'now', () => Date.now())
    net = new FakeNet()
    problems = []
  })

  afterEach(async () => {
    for (const c of clients.splice(0)) c.close()
    await advance(0)
    const left = [net.timers.size, net.open.length]
    net.restore()
    mock.timers.reset()
    mock.restoreAll()
    assert.deepEqual(left, [0, 0], 'invariant 5: timers and connections left')
  })

  function make(options) {
    const c = new fps.Client({ url: 'ws://a/ws', WebSocket: net.WebSocket, fetch: net.fetch, ...options })
    c.on('error', error => problems.push(error))
    clients.push(c)
    return c
  }

  async function outcome(promise) {
    let result = 'pending'
    promise.then(() => (result = 'resolved'), error => (result = error.code))
    await advance(0)
    return result
  }

  test('connects at first use, with its token', async () => {
    const c = make({ token: 'AT_1_2' })
    await advance(10)
    assert.deepEqual([c.status, net.sockets.length], ['idle', 0])
    const statuses = []
    c.on('status', s => statuses.push(s))
    await Promise.all([c.connect(), advance(10)])
    assert.deepEqual(net.last.protocols, ['llps.v1', 'at.AT_1_2'])
    assert.deepEqual([statuses, c.url, net.last.binaryType], [['connecting', 'open'], 'ws://a/ws', 'arraybuffer'])
  })

  test('options are checked', () => {
    for (const options of [{ url: undefined }, { url: 'not a url' }, { token: 'a,b' }]) assert.throws(() => make(options), TypeError)
    const { WebSocket } = globalThis
    delete globalThis.WebSocket
    assert.throws(() => make({ WebSocket: undefined }), /no WebSocket/)
    if (WebSocket) globalThis.WebSocket = WebSocket
    assert.throws(() => make().subscribe('a..b'), hasCode('invalid_pattern'))
    assert.throws(() => make().subscribe('a b', 'a'), hasCode('invalid_tenant'))
  })

  test('subscribes, and hands messages to the patterns listed', async () => {
    const c = make()
    const got = []
    const all = c.subscribe('room.#', m => got.push(['#', m.text]))
    const one = c.subscribe('t', 'room.*', m => got.push(['*', m.channel]))
    const again = c.subscribe('room.#', m => got.push(['again', m.json()]))
    await advance(20)
    assert.deepEqual(net.last.lines.filter(l => l !== 'PING'), ['SUB:~:room.#', 'SUB:t:room.*'])
    assert.equal(await outcome(all.ready), 'resolved')
    assert.equal(await outcome(again.ready), 'resolved')
    assert.equal(await outcome(one.everywhere), 'pending')
    net.last.say('READY:t:room.*')
    assert.equal(await outcome(one.everywhere), 'resolved')
    assert.equal(await outcome(all.everywhere), 'pending')

    net.last.deliver('~', 'room.1', '7')
    net.last.deliver('t', 'room.1', '8')
    assert.deepEqual(got, [['#', '7'], ['again', 7], ['*', 'room.1']])
    all.unsubscribe()
    all.unsubscribe()
    await advance(20)
    assert.ok(!net.last.lines.includes('UNSUB:~:room.#'), 'another subscription needs it')
    again.unsubscribe()
    await advance(20)
    assert.ok(net.last.lines.includes('UNSUB:~:room.#'))
    net.last.say(delivery('~', 'room.1', 'late', ['room.#']))
    assert.equal(got.length, 3)
    assert.equal(await outcome(all.everywhere), 'unsubscribed')
  })

  test('publishes at once, and in order', async () => {
    const c = make()
    const waiting = c.publish('a', '1')
    c.publish('a', '2', { tenant: 't', mode: 'deliver-one-random' })
    assert.equal(await outcome(waiting), 'pending')
    await advance(20)
    assert.equal(await outcome(waiting), 'resolved')
    await c.publish('a', '3')
    assert.deepEqual(net.last.frames.map(toHex), [
      toHex(fps.encodePublish('a', '1')), toHex(fps.encodePublish('a', '2', { tenant: 't', mode: 'deliver-one-random' })), toHex(fps.encodePublish('a', '3')),
    ])
    assert.equal(await outcome(c.publish('a.*', '')), 'invalid_channel')
    c.close()
    assert.equal(await outcome(c.publish('a', '')), 'closed')
    assert.throws(() => c.subscribe('a'), hasCode('closed'))
  })

  test('what waits is bounded, the oldest goes first', async () => { // invariant 3
    const c = make({ queueBytes: 1_000 })
    const size = fps.encodePublish('a', new Uint8Array(100)).length
    const room = Math.floor(1_000 / size)
    const sent = Array.from({ length: room + 5 }, (_, i) => c.publish('a', new Uint8Array(100).fill(i)))
    assert.deepEqual([c.stats.dropped, c.queuedBytes], [5, room * size])
    await advance(20)
    const results = await Promise.all(sent.map(outcome))
    assert.deepEqual(results, [...Array(5).fill('dropped'), ...Array(room).fill('resolved')])
    assert.deepEqual(net.last.frames.map(f => f.at(-1)), Array.from({ length: room }, (_, i) => i + 5))
    assert.equal(c.queuedBytes, 0)
  })

  test('publish waits while the connection has too much to send', async () => {
    const c = make({ bufferedBytes: 300 })
    net.node('a').stuck = true
    c.connect()
    await advance(20)
    const sent = Array.from({ length: 5 }, () => c.publish('a', new Uint8Array(100)))
    await advance(100)
    assert.equal(net.last.frames.length, 3)
    assert.deepEqual(await Promise.all(sent.map(outcome)), ['resolved', 'resolved', 'resolved', 'pending', 'pending'])
    net.last.bufferedAmount = 0
    await advance(10)
    assert.equal(net.last.frames.length, 5)
  })

  test('a lost connection is replaced, and active only with all subscriptions', async () => { // invariant 1
    const c = make()
    const got = []
    c.subscribe('a', m => got.push(m.text))
    c.subscribe('b', m => got.push(m.text))
    await advance(6_000)
    const first = net.last
    net.node('a').refuse = line => (line === 'SUB:~:b' ? '' : undefined) // no answer
    first.cut()
    assert.equal(c.status, 'lost')
    const sent = c.publish('a', 'x')
    await advance(300)
    const second = net.last
    assert.notEqual(second, first)
    assert.deepEqual(second.lines, ['SUB:~:a', 'SUB:~:b'])
    second.deliver('~', 'a', 'early')
    assert.deepEqual([got, c.status, await outcome(sent)], [['early'], 'lost', 'pending'])
    second.say('OK:SUB:~:b')
    assert.deepEqual([c.status, await outcome(sent), second.frames.length], ['open', 'resolved', 1])
  })

  test('an attempt without progress is given up, and repeated', async () => {
    const c = make()
    net.node('a').silent = true
    c.connect()
    await advance(10_001)
    assert.deepEqual(problems.map(e => e.code), ['connect_failed'])
    net.node('a').silent = false
    await advance(300)
    assert.equal(c.status, 'open')
  })

  test('delays grow while the node is down, and start anew after a good connection', async () => {
    mock.method(Math, 'random', () => 1)
    const c = make()
    net.node('a').down = true
    c.connect()
    const attempts = () => net.sockets.length
    await advance(250 + 500 + 1_000 + 2_000 + 100)
    assert.equal(attempts(), 5)
    await advance(60_000, 50)
    assert.ok(attempts() >= 9 && attempts() <= 10, `${attempts()} attempts`)
    net.node('a').down = false
    await advance(15_100, 50)
    assert.equal(c.status, 'open')
    await advance(5_000, 50)
    const before = attempts()
    net.last.cut()
    await advance(240)
    assert.equal(attempts(), before)
    await advance(20)
    assert.equal(attempts(), before + 1)
  })

  test('RECONNECT: overlap, publications switch, copies are dropped', async () => { // invariants 1 and 2
    const c = make()
    const got = []
    c.subscribe('a', m => got.push(m.text))
    await advance(6_000)
    const former = net.last
    net.node('a').refuse = line => (line.startsWith('SUB') ? '' : undefined)
    former.say('RECONNECT')
    former.say('RECONNECT')
    await advance(20)
    const latter = net.last
    assert.deepEqual([net.sockets.length, c.status], [2, 'moving'])
    await c.publish('x', '1')
    former.deliver('~', 'a', 'm1')
    latter.held.set('~:a', 'a')
    latter.say('OK:SUB:~:a')
    assert.equal(c.status, 'open')
    await c.publish('x', '2')
    assert.deepEqual([former.frames.length, latter.frames.length], [1, 1])

    for (const socket of [former, latter]) for (const text of ['m2', 'same', 'same']) socket.deliver('~', 'a', text)
    latter.deliver('~', 'a', 'same')
    former.deliver('~', 'a', 'm3')
    latter.deliver('~', 'a', 'm4')
    latter.deliver('~', 'a', 'm3')
    former.deliver('~', 'a', 'm4')
    assert.deepEqual(got, ['m1', 'm2', 'same', 'same', 'same', 'm3', 'm4'])
    assert.deepEqual([c.stats.moved, c.stats.duplicates], [1, 5])

    await advance(4_900)
    assert.ok(!former.closedByClient)
    former.deliver('~', 'a', 'still heard')
    await advance(200)
    assert.ok(former.closedByClient)
    latter.deliver('~', 'a', 'still heard')
    assert.deepEqual(got.slice(7), ['still heard'])
  })

  test('a copy reaches the subscriptions that the first one did not list', async () => {
    const c = make()
    const got = []
    c.subscribe('a', () => got.push('a'))
    c.subscribe('#', () => got.push('#'))
    await advance(6_000)
    const former = net.last
    net.node('a').refuse = line => (line === 'SUB:~:#' ? '' : undefined)
    former.say('RECONNECT')
    await advance(20)
    net.last.deliver('~', 'a', 'x') // the candidate has only "a" so far
    former.deliver('~', 'a', 'x')
    assert.deepEqual(got, ['a', '#'])
    former.deliver('~', 'a', 'y')
    net.last.deliver('~', 'a', 'y')
    net.last.deliver('~', 'a', 'y') // sent twice, but the former connection missed one
    assert.deepEqual(got, ['a', '#', 'a', '#', 'a'])
  })

  test('RECONNECT to everyone makes no busy loop', async () => {
    for (const how of ['refuse', 'greeting']) { // after a connection became active, and before
      const c = make()
      net.node('a').refuse = how === 'refuse' ? line => (line === 'PING' ? 'RECONNECT' : undefined) : undefined
      net.node('a').greeting = how === 'greeting' ? 'RECONNECT' : undefined
      c.subscribe('a')
      const before = net.sockets.length
      await advance(60_000, 20)
      const made = net.sockets.length - before
      assert.ok(made > 5 && made < 40, `${how}: ${made} connections in a minute`)
      assert.ok(['open', 'moving'].includes(c.status), c.status)
      c.close()
    }
  })

  test('RECONNECT while the node takes no one: the old connection serves on', async () => {
    const c = make()
    c.subscribe('a')
    await advance(6_000)
    const former = net.last
    net.node('a').down = true
    former.say('RECONNECT')
    await advance(3_000)
    assert.ok(net.sockets.length > 3)
    await c.publish('a', 'x')
    assert.equal(former.frames.length, 1)
    net.node('a').down = false
    former.cut()
    await advance(15_000)
    assert.deepEqual([c.status, net.open.length], ['open', 1])
  })

  test('a refused subscription fails; one that was accepted once is tried again', async () => {
    const c = make()
    const fine = c.subscribe('fine')
    const secret = c.subscribe('secret')
    net.node('a').refuse = line => (line.endsWith('secret') ? 'ERR:permission_denied:not yours' : undefined)
    await advance(20)
    assert.deepEqual([await outcome(fine.ready), await outcome(secret.ready)], ['resolved', 'permission_denied'])
    await assert.rejects(secret[Symbol.asyncIterator]().next(), hasCode('permission_denied'))
    assert.deepEqual(problems.map(e => [e.code, e.detail]), [['permission_denied', '~:secret: not yours']])
    net.node('a').refuse = line => (line.endsWith('fine') ? 'ERR:permission_denied' : undefined)
    await advance(6_000)
    net.last.cut()
    await advance(300)
    assert.deepEqual([c.status, problems.length], ['open', 2])
    net.node('a').refuse = undefined
    net.last.cut()
    await advance(1_500)
    assert.ok(net.last.held.has('~:fine'))
    assert.ok(!net.last.held.has('~:secret'))
  })

  test('rate_limited is asked again', async () => {
    const c = make()
    const s = c.subscribe('a')
    let left = 2
    net.node('a').refuse = line => (line.startsWith('SUB') && left-- > 0 ? 'ERR:rate_limited' : undefined)
    await advance(50)
    assert.deepEqual([c.status, await outcome(s.ready)], ['connecting', 'pending'])
    await advance(2_000)
    assert.deepEqual([c.status, await outcome(s.ready)], ['open', 'resolved'])
    net.node('a').refuse = () => 'ERR:rate_limited'
    c.subscribe('b')
    await advance(5) // and closes while it waits
  })

  test('what a server may say', async () => { // invariant 4
    const c = make()
    const slow = []
    c.on('slow', n => slow.push(n))
    c.subscribe('a')
    await advance(20)
    for (const line of ['', 'PONG', 'PONG', 'OK:', 'OK:SUB:~:b', 'READY:', 'READY:~:b', 'HELLO:x', 'ERR:', 'ERR:bad_frame:a:b', 'ERR:slow_consumer:17', '{"x":1}']) {
      net.last.say(line)
    }
    for (const frame of vectors.malformed) net.last.say(fromHex(frame).buffer)
    assert.deepEqual(slow, [17])
    assert.deepEqual(problems.slice(0, 2).map(e => [e.code, e.detail]), [['', ''], ['bad_frame', 'a:b']])
    assert.equal(problems.length, 2 + vectors.malformed.length)
    assert.equal(c.stats.malformed, vectors.malformed.length)
    assert.equal(c.status, 'open')
  })

  test('a server that does not speak llps.v1 is left', async () => {
    net.node('a').protocol = ''
    const c = make()
    c.connect()
    await advance(10)
    assert.ok(net.sockets[0].closedByClient)
    assert.match(problems[0].detail, /does not speak/)
  })

  test('a handler that throws stops nobody else', async () => {
    const c = make()
    const got = []
    const later = []
    mock.method(globalThis, 'queueMicrotask', run => later.push(run)) // would end this process
    c.subscribe('a', () => { throw new Error('mine') })
    c.subscribe('#', m => got.push(m.text))
    await advance(20)
    net.last.deliver('~', 'a', 'x')
    assert.deepEqual([got, later.length], [['x'], 1])
    assert.throws(later[0], /mine/)
  })

  test('iteration', async () => {
    const c = make({ iterationBytes: 3 * 257 })
    const s = c.subscribe('#')
    await advance(20)
    for (const text of '12345') net.last.deliver('~', 'a', text)
    assert.equal(s.dropped, 2)
    const got = []
    for await (const m of s) {
      got.push(m.text)
      if (got.length === 3) setTimeout(() => net.last.deliver('~', 'a', '6'), 1), advance(1)
      if (got.length === 4) break
    }
    assert.deepEqual(got, ['3', '4', '5', '6'])
    await advance(5)
    assert.ok(net.last.lines.includes('UNSUB:~:#'))
    assert.throws(() => c.subscribe('a', () => {})[Symbol.asyncIterator](), TypeError)
    const ended = c.subscribe('b')[Symbol.asyncIterator]().next()
    c.close()
    assert.deepEqual(await ended, { value: undefined, done: true })
  })

  test('the round trip is measured, and a dead connection left', async () => {
    net.node('a').delay = 20
    const c = make()
    const seen = []
    c.on('rtt', rtt => seen.push(rtt))
    assert.equal(await outcome(c.ping()), 'not_connected')
    c.connect()
    await advance(100)
    assert.deepEqual([c.rtt, seen], [40, [40]])
    const measured = c.ping()
    assert.equal(c.ping(), measured, 'one at a time')
    await advance(50)
    assert.equal(await measured, 40)
    await advance(5_000)
    net.node('a').silent = true
    await advance(16_000)
    assert.deepEqual([c.status, c.rtt, net.sockets[0].closedByClient], ['lost', undefined, true])
  })

  test('waking up: no delay is waited for, and no old connection is trusted', async () => {
    mock.method(Math, 'random', () => 1)
    const wakers = new Set()
    globalThis.addEventListener = (_, wake) => wakers.add(wake)
    globalThis.removeEventListener = (_, wake) => wakers.delete(wake)
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} }
    try {
      const c = make()
      net.node('a').down = true
      c.connect()
      await advance(20_000, 50) // the next attempt is seconds away
      net.node('a').down = false
      const before = net.sockets.length
      globalThis.document.hidden = true
      wakers.forEach(wake => wake())
      await advance(20)
      assert.equal(net.sockets.length, before)
      globalThis.document.hidden = false
      wakers.forEach(wake => wake())
      await advance(20)
      assert.equal(c.status, 'open')
      wakers.forEach(wake => wake())
      await advance(4_000)
      assert.equal(c.status, 'open')
      net.node('a').silent = true
      wakers.forEach(wake => wake())
      await advance(3_010)
      assert.equal(c.status, 'lost')
      c.close()
      assert.equal(wakers.size, 0, 'invariant 5')
    } finally {
      for (const name of ['addEventListener', 'removeEventListener', 'document']) delete globalThis[name]
    }
  })

  test('a server that sends messages but no PONG is alive, until it falls silent', async () => {
    const c = make()
    c.subscribe('a')
    net.node('a').refuse = line => (line === 'PING' ? '' : undefined)
    await advance(100)
    for (let i = 0; i < 30; i++) {
      net.last.deliver('~', 'a', 'x')
      await advance(1_000, 50)
    }
    assert.deepEqual([c.status, c.stats.connected], ['open', 1])
    await advance(16_000, 50)
    assert.equal(c.stats.connected, 2)
  })

  test('close settles everything', async () => {
    const c = make({ bootstrap: 'http://b/v1/bootstrap' })
    net.node('b').silent = net.node('a').silent = true
    const opening = c.connect()
    const sent = c.publish('a', 'x')
    const s = c.subscribe('a')
    await advance(10)
    c.close()
    c.close()
    assert.deepEqual(await Promise.all([opening, sent, s.ready, s.everywhere].map(outcome)), Array(4).fill('closed'))
    assert.equal(net.timers.size, 0)
    await advance(20_000, 100)
    assert.equal(net.sockets.length, 0)
  })

  describe('nodes to choose from', () => {
    const urls = ['ws://a/ws', 'ws://b/ws', 'ws://c/ws']

    function place(a, b, c) {
      Object.entries({ a, b, c }).forEach(([host, delay]) => (net.node(host).delay = delay))
    }

    test('the nearest is taken, whatever the others do', async () => {
      place(30, 20, 5)
      net.node('a').silent = true
      net.node('c').body = 'gateway timeout'
      const c = make({ url: undefined, urls })
      c.connect()
      await advance(400)
      assert.deepEqual([c.status, c.url], ['open', 'ws://b/ws'])
    })

    test('the time to connect does not count', async () => {
      place(10, 20, 30)
      net.node('a').setup = 80
      const c = make({ url: undefined, urls })
      c.connect()
      await advance(400)
      assert.equal(c.url, 'ws://a/ws')
    })

    test('none answers a ping: some node is tried, then the others', async () => {
      for (const host of ['a', 'b', 'c']) net.node(host).body = 'no'
      net.node('a').down = net.node('b').down = true
      const c = make({ url: undefined, urls })
      c.connect()
      await advance(2_000)
      assert.deepEqual([c.status, c.url], ['open', 'ws://c/ws'])
    })

    test('a lost node is replaced by the next, and come back to', async () => {
      place(5, 20, 60)
      const c = make({ url: undefined, urls, measureMs: 1_000 })
      c.subscribe('x')
      await advance(400)
      assert.equal(c.url, 'ws://a/ws')
      net.node('a').protocol = 'other' // it answers pings, and takes no one
      net.last.cut()
      await advance(1_500)
      assert.equal(c.url, 'ws://b/ws')
      net.node('a').protocol = 'llps.v1'
      await advance(5_000)
      assert.equal(c.url, 'ws://a/ws')
      assert.deepEqual([c.stats.moved, c.status], [1, 'open'])
      net.last.cut()
      await advance(1_500)
      assert.equal(c.url, 'ws://a/ws', 'that it failed once is forgotten')
    })

    test('it moves only for a gain that is seen twice', async () => {
      place(20, 30, 30)
      const c = make({ url: undefined, urls, measureMs: 10_000 })
      const statuses = []
      c.on('status', s => statuses.push(s))
      c.connect()
      await advance(400)
      const measured = async () => {
        const before = net.fetched.length
        while (net.fetched.length === before) await advance(20, 20)
        await advance(300)
      }
      place(20, 16, 30) // no margin
      for (let i = 0; i < 4; i++) await measured()
      assert.equal(c.url, 'ws://a/ws')
      for (let i = 0; i < 4; i++) { // now and then is not in a row
        place(20, i % 2 ? 16 : 5, 30)
        await measured()
      }
      assert.equal(c.url, 'ws://a/ws')
      place(20, 5, 30)
      await measured()
      assert.equal(c.url, 'ws://a/ws')
      await measured()
      assert.equal(c.url, 'ws://b/ws')
      await advance(6_000, 20)
      assert.deepEqual(statuses, ['connecting', 'open', 'moving', 'open'])
      assert.equal(net.open.length, 1)
    })

    test('a move that fails changes nothing', async () => {
      place(20, 30, 30)
      const c = make({ url: undefined, urls, measureMs: 1_000 })
      c.connect()
      await advance(400)
      place(20, 2, 30)
      net.node('b').protocol = 'other'
      await advance(10_000, 20)
      assert.deepEqual([c.status, c.url, net.open.length], ['open', 'ws://a/ws', 1])
      assert.ok(problems.length > 0)
    })

    test('RECONNECT leads to another node', async () => {
      place(5, 20, 60)
      const c = make({ url: undefined, urls })
      c.connect()
      await advance(6_000)
      net.last.say('RECONNECT')
      await advance(400)
      assert.deepEqual([c.url, c.status, net.open.length], ['ws://b/ws', 'open', 2])
    })

    test('bootstrap lists nodes, and any node can stand in for it', async () => {
      place(30, 20, 5)
      net.node('boot').edges = ['a:1', { host: 'b:1', lat: 1 }, { name: 'no host' }, 7, null, 'no url:x']
      const c = make({ url: undefined, bootstrap: 'http://boot/v1/bootstrap', measureMs: 1_000 })
      net.node('b:1').delay = 5
      net.node('a:1').delay = 15
      net.node('c:1').delay = 1
      c.connect()
      await advance(500)
      assert.equal(c.url, 'ws://b:1/ws')
      net.node('boot').down = true
      net.node('a:1').edges = ['b:1', 'c:1']
      net.node('b:1').down = true
      net.last.cut()
      await advance(1_500)
      assert.equal(c.url, 'ws://c:1/ws')
    })

    test('https lists wss nodes; without any list the given url serves', async () => {
      net.node('boot').edges = ['a:1']
      const c = make({ url: undefined, bootstrap: 'https://boot/v1/bootstrap' })
      c.connect()
      await advance(50)
      assert.equal(c.url, 'wss://a:1/ws')
      const d = make({ url: 'ws://d/ws', bootstrap: 'https://empty/v1/bootstrap' })
      d.connect()
      const e = make({ url: undefined, bootstrap: 'https://empty/v1/bootstrap' })
      e.connect()
      await advance(50)
      assert.deepEqual([d.url, e.url, problems.at(-1).code], ['ws://d/ws', undefined, 'connect_failed'])
    })
  })
})
