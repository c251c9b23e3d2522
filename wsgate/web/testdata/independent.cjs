// Gateways as npm's ws sees them, which shares no code with us: node independent.cjs <host of a> <host of b> <control URL>
'use strict'
const assert = require('node:assert/strict')
const WebSocket = require('ws')

const [a, b, control] = process.argv.slice(2)
const step = text => console.log(text)

/** A connection whose lines, frames and end can be awaited, in the order of each. */
class Peer {
  constructor (url, protocols = ['llps.v1'], options = {}) {
    this.queues = { line: [], frame: [], close: [], pong: [] }
    this.socket = new WebSocket(url, protocols, options)
    this.open = new Promise((resolve, reject) => this.socket.on('open', resolve).on('error', reject))
    this.socket.on('message', (data, binary) => {
      if (binary) this.put('frame', data)
      else if (!/^READY:/.test(data)) this.put('line', String(data))
    })
    this.socket.on('pong', data => this.put('pong', String(data)))
    this.socket.on('close', code => this.put('close', code))
    this.socket.on('upgrade', response => { this.response = response })
  }

  put (kind, item) {
    this.queues[kind].push(item)
    this.wake?.()
  }

  /** The next line, frame, pong or closing code. */
  async next (kind) {
    while (this.queues[kind].length === 0) await new Promise(resolve => { this.wake = resolve })
    return this.queues[kind].shift()
  }

  async ask (line, answer) {
    this.socket.send(line)
    assert.match(await this.next('line'), answer instanceof RegExp ? answer : new RegExp(`^${answer.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`))
  }
}

const text = s => {
  const body = Buffer.from(s)
  const size = Buffer.alloc(2)
  size.writeUInt16BE(body.length)
  return Buffer.concat([size, body])
}
const publish = (tenant, channel, payload, ...version) => Buffer.concat([Buffer.from(version), text(tenant), text(channel), Buffer.from(payload)])
const delivery = (tenant, channel, payload, ...patterns) => {
  const sizes = Buffer.alloc(6)
  sizes.writeUInt32BE(payload.length)
  sizes.writeUInt16BE(patterns.length, 4)
  return Buffer.concat([Buffer.from([1]), text(tenant), text(channel), sizes.subarray(0, 4), Buffer.from(payload), sizes.subarray(4), ...patterns.map(text)])
}

async function main () {
  step('handshakes: at both paths, with an offered token and compression, of which nothing comes back')
  const at = `at.AT_${'0'.repeat(32)}_${'1'.repeat(32)}`
  for (const [path, protocols] of [['/ws', ['llps.v1', at]], ['/', ['llps.v1']]]) {
    const peer = new Peer(`ws://${a}${path}`, protocols, { perMessageDeflate: true })
    await peer.open
    assert.equal(peer.socket.protocol, 'llps.v1')
    assert.equal(peer.socket.extensions, '')
    assert.ok(!JSON.stringify(peer.response.headers).includes('AT_'))
    peer.socket.close()
    await peer.next('close')
  }
  const bare = new Peer(`ws://${a}/ws`, [])
  await bare.open
  assert.equal(bare.socket.protocol, '')
  bare.socket.terminate()

  step('lines')
  const reader = new Peer(`ws://${b}/ws`)
  const writer = new Peer(`ws://${a}/ws`)
  await Promise.all([reader.open, writer.open])
  await reader.ask('SUB:t:a.#', 'OK:SUB:t:a.#')
  await reader.ask('SUB:t:a.b', 'OK:SUB:t:a.b')
  await reader.ask('SUB:t:a.b', 'OK:SUB:t:a.b')
  await reader.ask('SUB:t:gone', 'OK:SUB:t:gone')
  await reader.ask('UNSUB:t:gone', 'OK:UNSUB:t:gone')
  await reader.ask('SUB:t:a..b', /^ERR:invalid_pattern/)
  await reader.ask('HELLO', /^ERR:unknown_command/)
  await reader.ask('PING', 'PONG')
  reader.socket.ping('protocol')
  assert.equal(await reader.next('pong'), 'protocol')

  step('frames: to the other node, byte for byte')
  const largest = Buffer.alloc(65_535, 'x')
  for (const payload of [Buffer.from('hi'), Buffer.alloc(0), Buffer.from([0, 255, 1]), largest]) {
    writer.socket.send(publish('t', 'gone', 'nobody'))
    writer.socket.send(publish('t', 'a.c', payload))
    assert.deepEqual(await reader.next('frame'), delivery('t', 'a.c', payload, 'a.#'))
  }
  for (const mode of [0, 1, 2]) {
    writer.socket.send(publish('t', 'a.c', `mode ${mode}`, 2, mode))
    assert.deepEqual(await reader.next('frame'), delivery('t', 'a.c', `mode ${mode}`, 'a.#'))
  }
  writer.socket.send(publish('t', 'a.b', 'both'))
  const both = await reader.next('frame')
  assert.ok([delivery('t', 'a.b', 'both', 'a.#', 'a.b'), delivery('t', 'a.b', 'both', 'a.b', 'a.#')].some(d => d.equals(both)))

  step('a thousand in order')
  for (let i = 0; i < 1000; i++) writer.socket.send(publish('t', 'a.n', String(i)))
  for (let i = 0; i < 1000; i++) assert.deepEqual(await reader.next('frame'), delivery('t', 'a.n', String(i), 'a.#'))
  assert.equal(reader.queues.frame.length, 0)

  step('closing codes: too big, no text of UTF-8, bad frames, a node that stops')
  const codes = []
  for (const send of [
    s => s.send(Buffer.alloc(1 << 20)),
    s => s.send(Buffer.from([0xff, 0xfe]), { binary: false }),
    s => { for (let i = 0; i < 20; i++) s.send(Buffer.from([9])) }
  ]) {
    const peer = new Peer(`ws://${a}/ws`)
    await peer.open
    send(peer.socket)
    codes.push(await peer.next('close'))
  }
  assert.deepEqual(codes, [1009, 1007, 1008])
  assert.ok((await fetch(`${control}/halt/1`, { method: 'POST' })).ok)
  assert.equal(await reader.next('close'), 1001)
  await writer.ask('PING', 'PONG')
  writer.socket.close()
  assert.equal(await writer.next('close'), 1005)
}

main().catch(err => { console.error(err); process.exit(1) })
