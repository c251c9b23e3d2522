/**
 * The mesh as its nodes report it (package mesh/report): what every node says of itself and of its ends of links, put together. From both ends of every
 * link follow the routes, as every node computes them: shortest paths over the worse of what the two ends say.
 *
 * Nothing here touches the page. Times are in ms.
 */

const GONE_PERIODS = 3 // reports that a node may leave out before it is taken for gone
const MAX_NODES = 2_000
const MAX_EVENTS = 100 // of a report
const MAX_HISTORY = 120 // seconds of rates
const MAX_SOURCES = 150 // whose routes are computed for the comparison with direct links

const number = x => (Number.isFinite(x) ? x : 0)
const text = x => String(x ?? '').slice(0, 64)
const isID = id => typeof id === 'string' && /^[0-9a-f]{16}$/.test(id)

/** A key for the link of two nodes, whichever is first. */
export const linkKey = (a, b) => (a < b ? `${a}-${b}` : `${b}-${a}`)

export class Mesh {
  nodes = new Map() // id -> node
  history = [] // of totals, oldest first
  version = 0 // grows with what links and routes depend on
  #links
  #linksAt = -1
  #routes = new Map() // source -> routes, of this version
  #routesAt = -1

  /** Takes a report; returns its events. What is no report is ignored. */
  take(report, at) {
    const id = report?.node?.id
    if (!isID(id) || !Array.isArray(report.links) || (this.nodes.size >= MAX_NODES && !this.nodes.has(id))) return []
    const { lat, lon } = report.node
    this.nodes.set(id, {
      id, at, every: Math.max(number(report.every_s), 0.25) * 1_000, name: text(report.node.name) || id.slice(0, 4), region: text(report.node.region), addr: text(report.node.addr),
      client: text(report.node.client), uptime: number(report.node.uptime_s), place: Number.isFinite(lat) && Number.isFinite(lon) ? { lat, lon } : undefined,
      members: number(report.members), routes: number(report.routes), cut: number(report.cut), rates: report.rates ?? {}, drops: report.drops ?? {},
      ends: new Map(report.links.filter(l => isID(l?.to)).map(l => [l.to, {
        up: l.up === true, rtt: number(l.rtt_ms), loss: number(l.loss), cost: number(l.cost_ms), out: number(l.out), in: number(l.in), sent: number(l.sent),
      }])),
    })
    this.version++
    const events = (Array.isArray(report.events) ? report.events : []).slice(0, MAX_EVENTS).filter(e => isID(e?.node)).map(e => ({
      at, kind: text(e.kind), by: id, byName: this.nodes.get(id).name, node: e.node, name: text(e.name), path: names(e.path), was: names(e.was), cost: number(e.cost_ms), prev: number(e.was_ms),
    }))
    return events
  }

  /** Forgets nodes that no longer report, and notes the totals of the last second. */
  tick(at) {
    for (const [id, n] of this.nodes) {
      if (at - n.at > GONE_PERIODS * n.every + 1_000) {
        this.nodes.delete(id)
        this.version++
      }
    }
    if (this.nodes.size || this.history.length) this.history.push(this.totals())
    if (this.history.length > MAX_HISTORY) this.history.shift()
  }

  /** Rates of all nodes together. */
  totals() {
    const sum = { published: 0, relayed: 0, delivered: 0, resent: 0, connections: 0, dropped: 0 }
    for (const n of this.nodes.values()) {
      for (const key of ['published', 'relayed', 'delivered', 'resent', 'connections']) sum[key] += number(n.rates[key])
      for (const rate of Object.values(n.drops)) sum.dropped += number(rate)
    }
    return sum
  }

  /** All links: an array, and by key. A link is up if both ends say so; its cost is the worse one's, or Infinity. */
  links() {
    if (this.#linksAt === this.version) return this.#links
    const all = new Map()
    for (const n of this.nodes.values()) {
      for (const [to, end] of n.ends) {
        if (!this.nodes.has(to)) continue
        const key = linkKey(n.id, to)
        const l = all.get(key) ?? { key, a: n.id < to ? n.id : to, b: n.id < to ? to : n.id, ends: 0, up: true, rtt: 0, loss: 0, cost: 0, rate: 0, bytes: 0 }
        l.ends++
        l.up &&= end.up
        l.rtt = Math.max(l.rtt, end.rtt)
        l.loss = Math.max(l.loss, end.loss)
        l.cost = Math.max(l.cost, end.cost > 0 ? end.cost : Infinity)
        l.rate += end.out
        l.bytes += end.sent
        all.set(key, l)
      }
    }
    for (const l of all.values()) {
      if (l.ends < 2) l.up = false
      if (!l.up) l.cost = Infinity
    }
    this.#links = all
    this.#linksAt = this.version
    return all
  }

  /** The routes of a node: by destination { cost, path of ids, direct }, costs in ms one way, direct Infinity without such a link. */
  routes(from) {
    if (this.#routesAt !== this.version) {
      this.#routes.clear()
      this.#routesAt = this.version
    }
    let routes = this.#routes.get(from)
    if (!routes) this.#routes.set(from, routes = shortest(from, this.#neighbours(), this.nodes))
    return routes
  }

  #adjacent
  #adjacentAt = -1

  #neighbours() {
    if (this.#adjacentAt === this.version) return this.#adjacent
    const adjacent = new Map()
    for (const id of this.nodes.keys()) adjacent.set(id, [])
    for (const l of this.links().values()) {
      if (l.cost === Infinity) continue
      adjacent.get(l.a).push([l.b, l.cost])
      adjacent.get(l.b).push([l.a, l.cost])
    }
    this.#adjacentAt = this.version
    return this.#adjacent = adjacent
  }

  /** Every pair of nodes once, or those of some sources in a large mesh, with what the overlay saves: gain in ms, Infinity where there is no direct link. */
  pairs() {
    const ids = [...this.nodes.keys()].sort()
    const sources = ids.length > MAX_SOURCES ? ids.filter((_, i) => i % Math.ceil(ids.length / MAX_SOURCES) === 0) : ids
    const pairs = []
    for (const from of sources) {
      for (const [to, r] of this.routes(from)) {
        if (to > from || sources.length < ids.length) pairs.push({ from, to, ...r, gain: r.direct - r.cost })
      }
    }
    return { pairs, isSample: sources.length < ids.length }
  }
}

const names = list => (Array.isArray(list) ? list.map(text) : [])

/** Dijkstra with a binary heap. Of equal paths the one found first. */
function shortest(from, adjacent, nodes) {
  const cost = new Map([[from, 0]])
  const before = new Map()
  const done = new Set()
  const heap = [[0, from]]
  while (heap.length) {
    const [c, at] = pop(heap)
    if (done.has(at)) continue
    done.add(at)
    for (const [to, more] of adjacent.get(at) ?? []) {
      if (c + more < (cost.get(to) ?? Infinity)) {
        cost.set(to, c + more)
        before.set(to, at)
        push(heap, [c + more, to])
      }
    }
  }
  const direct = new Map(adjacent.get(from))
  const routes = new Map()
  for (const [to, c] of cost) {
    if (to === from || !nodes.has(to)) continue
    const path = [to]
    while (path[0] !== from) path.unshift(before.get(path[0]))
    routes.set(to, { cost: c, path, direct: direct.get(to) ?? Infinity })
  }
  return routes
}

function push(heap, item) {
  let i = heap.push(item) - 1
  while (i > 0 && heap[(i - 1) >> 1][0] > item[0]) {
    heap[i] = heap[(i - 1) >> 1]
    i = (i - 1) >> 1
  }
  heap[i] = item
}

function pop(heap) {
  const top = heap[0]
  const last = heap.pop()
  if (!heap.length) return top
  let i = 0
  for (;;) {
    let child = 2 * i + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && heap[child + 1][0] < heap[child][0]) child++
    if (heap[child][0] >= last[0]) break
    heap[i] = heap[child]
    i = child
  }
  heap[i] = last
  return top
}
