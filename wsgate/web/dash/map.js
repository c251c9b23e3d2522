/**
 * Draws the mesh on a canvas: nodes where they are on the world, or as a graph in which they are as far apart as their latencies say. Links have the colour of
 * their round trip and loss, and the width of what they carry; the routes of the chosen node, or one path, stand out.
 */

import { LAND } from './land.js'

const MAX_LINKS = 1_500 // drawn; those that carry most go first
const LOSSY = 0.01 // share of packets from which a link counts as lossy
const STEPS_MS = [20, 60, 120, 200] // upper ends of the round trips of a colour; the last colour is for more
const GRAPH_LINKS = 6_000 // that the graph is laid out by
const MAX_FLASHES = 40
const FEW_FLASHES = 8 // that may stand out; more only shimmer
const FLASH_MS = 2_500
const rad = Math.PI / 180

/** Which of the five colours a round trip has. */
export const band = rtt => STEPS_MS.filter(ms => rtt >= ms).length

export class MapView {
  view = 'map' // or graph
  chosen // id of a node
  path // ids: one path to draw in place of the chosen node's routes
  #canvas
  #mesh
  #spots = new Map() // id -> [x, y] on the canvas
  #layout = new Map() // id -> [x, y] in the graph, in ms
  #arcs = new Map()
  #hover
  #flashes = []
  #due = false

  /** onChoose is called with the id of a node that is clicked or reached by an arrow key; onHover with what the pointer is at, or undefined. */
  constructor(canvas, mesh, { onChoose, onHover }) {
    this.#canvas = canvas
    this.#mesh = mesh
    canvas.addEventListener('pointermove', e => {
      this.#hover = this.#at(e)
      canvas.style.cursor = this.#hover ? 'pointer' : 'default'
      onHover(this.#hover, e.offsetX, e.offsetY)
      this.draw()
    })
    canvas.addEventListener('pointerleave', () => onHover(this.#hover = undefined))
    canvas.addEventListener('click', e => onChoose(this.#at(e)))
    canvas.addEventListener('keydown', e => {
      const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key]
      if (e.key === 'Escape') onChoose(undefined)
      if (!way) return
      e.preventDefault()
      onChoose(this.#toward(way))
    })
    new ResizeObserver(() => this.draw()).observe(canvas)
  }

  /** Draws anew before the next frame. */
  draw() {
    if (this.#due) return
    this.#due = true
    requestAnimationFrame(() => {
      this.#due = false
      this.#draw()
    })
  }

  /** Lets the new paths of re-routed pairs stand out for a moment. */
  flash(events, at) {
    const ids = new Map([...this.#mesh.nodes.values()].map(n => [n.name, n.id]))
    this.#flashes = this.#flashes.filter(f => f.until > at)
    for (const e of events) {
      if (e.kind === 'rerouted' && e.path.length > 1 && this.#flashes.length < MAX_FLASHES) this.#flashes.push({ path: e.path.map(name => ids.get(name)), until: at + FLASH_MS })
    }
  }

  /** Where a node is on the canvas. */
  spot(id) { return this.#spots.get(id) }

  /** The node at the pointer. */
  #at(e) {
    let best
    let least = 16
    for (const [id, [x, y]] of this.#spots) {
      const d = Math.hypot(x - e.offsetX, y - e.offsetY)
      if (d < least) [best, least] = [id, d]
    }
    return best
  }

  /** The nearest node in a direction from the chosen one. */
  #toward([dx, dy]) {
    const from = this.#spots.get(this.chosen)
    if (!from) return this.#spots.keys().next().value
    let best = this.chosen
    let least = Infinity
    for (const [id, [x, y]] of this.#spots) {
      const along = (x - from[0]) * dx + (y - from[1]) * dy
      const across = Math.abs((x - from[0]) * dy) + Math.abs((y - from[1]) * dx)
      if (id !== this.chosen && along > 0 && along + 2 * across < least) [best, least] = [id, along + 2 * across]
    }
    return best
  }

  #draw() {
    const width = this.#canvas.clientWidth
    const height = this.#canvas.clientHeight
    if (!width || !height) return
    const scale = window.devicePixelRatio || 1
    if (this.#canvas.width !== Math.round(width * scale) || this.#canvas.height !== Math.round(height * scale)) {
      this.#canvas.width = Math.round(width * scale)
      this.#canvas.height = Math.round(height * scale)
    }
    const g = this.#canvas.getContext('2d')
    g.setTransform(scale, 0, 0, scale, 0, 0)
    g.clearRect(0, 0, width, height)
    g.lineJoin = g.lineCap = 'round'
    const styles = getComputedStyle(this.#canvas)
    const colour = name => styles.getPropertyValue(name).trim()
    const frame = { g, width, height, colour, project: this.view === 'map' ? this.#worldOf(width, height) : undefined }
    this.#spots.clear()
    if (this.view === 'map') this.#world(frame)
    else this.#graph(frame)
    this.#drawLinks(frame)
    this.#drawFlashes(frame)
    this.#drawRoutes(frame)
    this.#drawNodes(frame)
  }

  /** How longitude and latitude come onto the canvas: all nodes with room around them, never less than a part of the world. */
  #worldOf(width, height) {
    const places = [...this.#mesh.nodes.values()].map(n => n.place).filter(Boolean)
    let [west, east, south, north] = [-170, 190, -56, 78]
    if (places.length) {
      const lons = places.map(p => p.lon)
      const lats = places.map(p => p.lat)
      const [w, e, s, n] = [Math.min(...lons), Math.max(...lons), Math.min(...lats), Math.max(...lats)]
      const wide = Math.max(8, Math.min((e - w) * 0.18, 14), (25 - (e - w)) / 2)
      const tall = Math.max(6, Math.min((n - s) * 0.18, 18), (14 - (n - s)) / 2)
      ;[west, east, south, north] = [w - wide, e + wide, Math.max(s - tall, -70), Math.min(n + tall, 84)]
    }
    const unit = Math.min(width / (east - west), height / (north - south))
    const left = (width - unit * (east - west)) / 2 - unit * west
    const top = (height - unit * (north - south)) / 2 + unit * north
    return { x: lon => left + unit * lon, y: lat => top - unit * lat, round: 360 * unit }
  }

  #world({ g, width, height, colour, project }) {
    g.fillStyle = colour('--land')
    for (const shift of [-project.round, 0, project.round]) {
      g.beginPath()
      for (const ring of LAND) {
        ring.forEach(([lon, lat], i) => g[i ? 'lineTo' : 'moveTo'](project.x(lon) + shift, project.y(lat)))
        g.closePath()
      }
      g.fill()
    }
    const lost = [] // nobody said where they are
    for (const n of this.#mesh.nodes.values()) {
      if (n.place) this.#spots.set(n.id, [project.x(n.place.lon), project.y(n.place.lat)])
      else lost.push(n.id)
    }
    lost.forEach((id, i) => this.#spots.set(id, [(width * (i + 0.5)) / lost.length, height - 24]))
    if (!lost.length) return
    g.fillStyle = colour('--soft')
    g.font = '12px system-ui, sans-serif'
    g.fillText('started without --geo', 8, height - 40)
  }

  /** Moves the nodes of the graph some steps closer to where their latencies pull them. */
  #graph({ width, height }) {
    const nodes = [...this.#mesh.nodes.keys()].sort()
    nodes.forEach((id, i) => {
      if (!this.#layout.has(id)) this.#layout.set(id, [80 * Math.cos((2 * Math.PI * i) / nodes.length), 80 * Math.sin((2 * Math.PI * i) / nodes.length)])
    })
    for (const id of this.#layout.keys()) if (!this.#mesh.nodes.has(id)) this.#layout.delete(id)
    const links = [...this.#mesh.links().values()].filter(l => l.up).slice(0, GRAPH_LINKS)
    for (let step = 0; step < 40; step++) {
      const pull = 0.4 * (1 - step / 50)
      for (const l of links) {
        const a = this.#layout.get(l.a)
        const b = this.#layout.get(l.b)
        const [dx, dy] = [b[0] - a[0] || 0.01, b[1] - a[1] || 0.01]
        const d = Math.hypot(dx, dy)
        const want = Math.max(l.rtt, 6)
        const move = ((d - want) / d / 2) * Math.min(pull, (pull * 900) / (want * want) + 0.02)
        a[0] += dx * move
        a[1] += dy * move
        b[0] -= dx * move
        b[1] -= dy * move
      }
    }
    const xs = [...this.#layout.values()].map(p => p[0])
    const ys = [...this.#layout.values()].map(p => p[1])
    const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
    const unit = Math.min((width - 140) / Math.max(x1 - x0, 1), (height - 70) / Math.max(y1 - y0, 1))
    for (const [id, [x, y]] of this.#layout) this.#spots.set(id, [width / 2 + unit * (x - (x0 + x1) / 2), height / 2 + unit * (y - (y0 + y1) / 2)])
  }

  #drawLinks(frame) {
    const { g, colour } = frame
    let links = [...this.#mesh.links().values()]
    const most = links.reduce((m, l) => Math.max(m, l.rate), 1)
    if (links.length > MAX_LINKS) links = links.sort((x, y) => y.rate - x.rate).slice(0, MAX_LINKS)
    const crowded = links.length > 150 || this.chosen || this.path
    for (const l of links.sort((x, y) => x.rate - y.rate)) {
      g.strokeStyle = colour(!l.up || l.loss >= LOSSY ? '--bad' : `--rtt${band(l.rtt)}`)
      g.globalAlpha = !l.up ? 0.75 : this.chosen || this.path ? 0.05 : (crowded ? 0.14 : 0.45) + 0.5 * Math.sqrt(l.rate / most)
      g.lineWidth = 0.8 + 3 * Math.sqrt(l.rate / most)
      g.setLineDash(l.up ? [] : [3, 5])
      this.#line(frame, l.a, l.b)
    }
    g.setLineDash([])
    g.globalAlpha = 1
  }

  /** The links that the chosen node's routes take, or the path. */
  #drawRoutes(frame) {
    const { g, colour } = frame
    const hops = new Map()
    const paths = this.path ? [this.path] : this.chosen ? [...this.#mesh.routes(this.chosen).values()].map(r => r.path) : []
    for (const path of paths) {
      for (let i = 1; i < path.length; i++) hops.set(`${path[i - 1]}-${path[i]}`, (hops.get(`${path[i - 1]}-${path[i]}`) ?? 0) + 1)
    }
    for (const [hop, n] of [...hops].sort((x, y) => x[1] - y[1])) {
      const [a, b] = hop.split('-')
      g.strokeStyle = colour(n > 1 || this.path ? '--accent' : '--route')
      g.lineWidth = this.path ? 3 : Math.min(1.4 + 0.7 * (n - 1), 6)
      this.#line(frame, a, b)
    }
  }

  #drawFlashes(frame) {
    const { g, colour } = frame
    const now = performance.now()
    const flashes = this.#flashes.filter(f => f.until > now && (!this.chosen || f.path.includes(this.chosen)))
    g.strokeStyle = colour('--moved')
    g.lineWidth = flashes.length > FEW_FLASHES ? 1.2 : 2.5
    for (const f of flashes) {
      for (let i = 1; i < f.path.length; i++) this.#line(frame, f.path[i - 1], f.path[i])
    }
  }

  /** One link: on the map along the great circle, so that it goes around the world where that is shorter. */
  #line({ g, width, project }, a, b) {
    const from = this.#spots.get(a)
    const to = this.#spots.get(b)
    if (!from || !to) return
    const places = [a, b].map(id => this.#mesh.nodes.get(id)?.place)
    if (!project || !places[0] || !places[1]) {
      g.beginPath()
      g.moveTo(...from)
      g.lineTo(...to)
      g.stroke()
      return
    }
    const arc = this.#arc(a, b, places)
    const shifts = arc.some(p => project.x(p[0]) < 0 || project.x(p[0]) > width) ? [-project.round, 0, project.round] : [0]
    for (const shift of shifts) {
      g.beginPath()
      arc.forEach(([lon, lat], i) => g[i ? 'lineTo' : 'moveTo'](project.x(lon) + shift, project.y(lat)))
      g.stroke()
    }
  }

  #arc(a, b, [p, q]) {
    const key = `${a}-${b}-${p.lon},${p.lat}-${q.lon},${q.lat}`
    let arc = this.#arcs.get(key)
    if (arc) return arc
    if (this.#arcs.size > 5_000) this.#arcs.clear()
    const [u, v] = [p, q].map(({ lat, lon }) => [Math.cos(lat * rad) * Math.cos(lon * rad), Math.cos(lat * rad) * Math.sin(lon * rad), Math.sin(lat * rad)])
    const angle = Math.acos(Math.min(1, Math.max(-1, u[0] * v[0] + u[1] * v[1] + u[2] * v[2])))
    arc = []
    const steps = Math.max(2, Math.ceil(angle / 0.04))
    for (let i = 0; i <= steps; i++) {
      const t = i / steps
      const [s, e] = angle < 0.001 ? [1 - t, t] : [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)]
      const [x, y, z] = [0, 1, 2].map(k => s * u[k] + e * v[k])
      let lon = Math.atan2(y, x) / rad
      const last = arc.at(-1)
      if (last) lon += 360 * Math.round((last[0] - lon) / 360)
      arc.push([lon, Math.atan2(z, Math.hypot(x, y)) / rad])
    }
    this.#arcs.set(key, arc)
    return arc
  }

  #drawNodes({ g, width, colour }) {
    const busy = this.#mesh.nodes.size > 60
    const named = new Set([this.chosen, this.#hover, ...(this.path ?? [])])
    const taken = []
    g.font = '12px system-ui, sans-serif'
    g.textBaseline = 'middle'
    const order = [...this.#spots].sort(([a], [b]) => named.has(b) - named.has(a))
    for (const [id, [x, y]] of order) {
      const n = this.#mesh.nodes.get(id)
      const isChosen = id === this.chosen
      g.beginPath()
      g.arc(x, y, isChosen ? 7 : named.has(id) ? 5.5 : busy || width < 500 ? 3 : 4.5, 0, 2 * Math.PI)
      g.fillStyle = colour(isChosen ? '--accent' : '--node')
      g.fill()
      g.lineWidth = 1.5
      g.strokeStyle = colour('--card')
      g.stroke()
      const w = g.measureText(n.name).width
      const at = x + 10 + w > width ? x - 10 - w : x + 10
      const clear = !taken.some(t => at < t[0] + t[2] && t[0] < at + w && Math.abs(y - t[1]) < 13) && !order.some(([other, [ox, oy]]) => other !== id && ox > at - 4 && ox < at + w && Math.abs(oy - y) < 8)
      if (!named.has(id) && (busy || !clear)) continue
      taken.push([at, y, w])
      g.lineWidth = 3
      g.strokeStyle = colour('--halo')
      g.strokeText(n.name, at, y)
      g.fillStyle = colour('--text')
      g.fillText(n.name, at, y)
    }
  }
}
