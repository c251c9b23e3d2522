/** The try-it panel: subscribes at one node, publishes at another, and shows what came, how long that took, and by which path. */

import { Client } from '../fastpubsub.js'
import { $, cells, list, ms, options, row, write } from './dom.js'
import { pathText } from './panels.js'

const MAX_SHOWN = 50
const MAX_AWAITED = 100

export class TryIt {
  #mesh
  #here // id of the node that served this page
  #token
  #onPath
  #clients = new Map() // role -> { id, client }
  #awaited = [] // { channel, text, at, from }, oldest first
  #shown = [] // newest first
  #subscription

  constructor(mesh, onPath) {
    this.#mesh = mesh
    this.#onPath = onPath
    $('try-sub').addEventListener('submit', e => {
      e.preventDefault()
      this.#subscribe()
    })
    $('try-pub').addEventListener('submit', e => {
      e.preventDefault()
      this.#publish()
    })
  }

  /** Says which node this is, and by which token to connect. */
  connect(here, token) {
    this.#here = here
    this.#token = token
  }

  /** Brings the choice of nodes up to date. */
  show() {
    const nodes = [...this.#mesh.nodes.values()].filter(n => n.client || n.id === this.#here).sort((a, b) => a.name.localeCompare(b.name)).map(n => [n.id, n.name])
    for (const id of ['sub-node', 'pub-node']) {
      const isFirst = !$(id).options.length
      options($(id), nodes)
      if (isFirst && this.#mesh.nodes.has(this.#here)) $(id).value = this.#here
    }
  }

  /** The client of a role, connected to a node. */
  #client(role, id) {
    const old = this.#clients.get(role)
    if (old?.id === id) return old.client
    old?.client.close()
    const host = id === this.#here ? location.host : this.#mesh.nodes.get(id)?.client
    const client = new Client({ url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${host}/ws`, token: this.#token })
    client.on('error', e => write($(`${role}-state`), e.message))
    this.#clients.set(role, { id, client })
    return client
  }

  async #subscribe() {
    const id = $('sub-node').value
    const pattern = $('sub-pattern').value.trim()
    const name = this.#mesh.nodes.get(id)?.name
    try {
      this.#subscription?.unsubscribe()
      write($('sub-state'), `connecting to ${name}`)
      const subscription = this.#subscription = this.#client('sub', id).subscribe(pattern, m => this.#came(id, m))
      await subscription.ready
      write($('sub-state'), `subscribed to ${pattern} at ${name}`)
      await subscription.everywhere
      write($('sub-state'), `subscribed to ${pattern} at ${name}; the whole mesh knows`)
    } catch (e) {
      write($('sub-state'), e.message)
    }
  }

  async #publish() {
    const from = $('pub-node').value
    const channel = $('pub-channel').value.trim()
    const text = $('pub-text').value
    try {
      const client = this.#client('pub', from)
      await client.connect()
      const message = { channel, text, from, at: performance.now() }
      this.#awaited.push(message)
      if (this.#awaited.length > MAX_AWAITED) this.#awaited.shift()
      await client.publish(channel, text)
      write($('pub-state'), `published at ${this.#mesh.nodes.get(from)?.name}`)
    } catch (e) {
      write($('pub-state'), e.message)
    }
  }

  #came(to, m) {
    const text = m.text.slice(0, 500)
    const i = this.#awaited.findIndex(a => a.channel === m.channel && a.text === m.text)
    const sent = i < 0 ? undefined : this.#awaited.splice(i, 1)[0]
    const route = sent && sent.from !== to ? this.#mesh.routes(sent.from).get(to) : undefined
    const path = route?.path ?? (sent ? [to] : [])
    this.#shown.unshift({
      key: String((this.#shown[0]?.key ?? 0) * 1 + 1), path,
      texts: [m.channel, text, sent ? `${ms(performance.now() - sent.at)} ms` : '–', route ? `${ms(route.cost)} ms` : '–', route ? `${ms(route.direct)} ms` : '–', sent ? pathText(this.#mesh, path) : 'published elsewhere'],
    })
    this.#shown.length = Math.min(this.#shown.length, MAX_SHOWN)
    list($('try-rows'), this.#shown, s => s.key, () => row(['', 'text', 'n', 'n', 'n', 'row'], tr => this.#onPath(tr.path)), (tr, s) => {
      tr.path = s.path
      cells(tr, s.texts)
    })
    if (path.length > 1) this.#onPath(path)
  }
}
