/** The parts of the page that show what Mesh knows: tiles, the chosen node, overlay against direct, rates, events. */

import { $, bytes, cells, element, list, ms, plural, rate, row, write } from './dom.js'
import { linkKey } from './model.js'

const MAX_ROWS = 200
const FASTER = 0.1 // share of the direct latency that a pair must save to count as faster
const SAVED_MS = [1, 5, 10, 25, 50, 100] // where the bars end
const BARS = ['under 1 ms', '1 to 5 ms', '5 to 10 ms', '10 to 25 ms', '25 to 50 ms', '50 to 100 ms', 'over 100 ms', 'no direct link']

const nameOf = (mesh, id) => mesh.nodes.get(id)?.name ?? id.slice(0, 4)
const share = (n, of) => (of ? `${Math.round((100 * n) / of)} %` : '–')

/** The relays of a path, by name. */
export const via = (mesh, path) => (path.length > 2 ? path.slice(1, -1).map(id => nameOf(mesh, id)).join('\u00a0> ') : 'direct')

/** The whole path, by name. */
export const pathText = (mesh, path) => path.map(id => nameOf(mesh, id)).join('\u00a0> ')

export function showTiles(mesh, pairs) {
  const links = [...mesh.links().values()]
  const up = links.filter(l => l.up).length
  if (!mesh.nodes.size) return // the page has something for that
  write($('tile-nodes'), String(mesh.nodes.size))
  const told = Math.max(0, ...[...mesh.nodes.values()].map(n => n.members))
  write($('tile-nodes-note'), told > mesh.nodes.size ? `of ${told} have reported yet` : 'all report')
  write($('tile-links'), String(up))
  write($('tile-links-note'), up < links.length ? `${links.length - up} down` : 'none down')
  const faster = pairs.filter(p => p.gain < Infinity && p.gain > FASTER * p.direct)
  write($('tile-gain'), share(faster.length, pairs.length))
  const mean = faster.reduce((sum, p) => sum + p.gain, 0) / Math.max(faster.length, 1)
  write($('tile-gain-note'), faster.length ? `by over 10 %; they save ${ms(mean)} ms on average` : 'by over 10 %')
  const totals = mesh.totals()
  write($('tile-rate'), `${rate(totals.delivered)}/s`)
  write($('tile-rate-note'), `${plural(totals.connections, 'client')}, ${rate(totals.dropped)}/s dropped`)
}

/** The chosen node beside the map. onPath is called with the path of a row. */
export function showNode(mesh, id, path, onPath) {
  const n = mesh.nodes.get(id)
  $('side').hidden = !n
  if (!n) return
  write($('side-name'), n.name)
  const facts = [['ID', n.id], ['Address', n.addr], ['Region', n.region || '–'], ['Up', uptime(n.uptime)], ['Clients', String(n.rates.connections ?? 0)], ['Links', `${[...n.ends.values()].filter(l => l.up).length} up`]]
  if (n.rates.cpu > 0) facts.push(['Processor', `${(100 * n.rates.cpu).toFixed(1)} %`])
  list($('side-facts'), facts.flatMap(([k, v]) => [['dt', k, k], ['dd', k, v]]), f => f[0] + f[1], ([tag]) => element(tag), (e, f) => write(e, f[2]))
  const routes = [...mesh.routes(id)].map(([to, r]) => ({ to, ...r })).sort((a, b) => saved(b) - saved(a) || a.cost - b.cost).slice(0, MAX_ROWS)
  list($('side-routes'), routes, r => r.to, () => row(['row', 'n', 'n', 'n', 'via'], tr => onPath(tr.path)), (tr, r) => {
    tr.path = r.path
    cells(tr, [nameOf(mesh, r.to), ms(r.cost), ms(r.direct), savedText(r), via(mesh, r.path)])
    mark(tr, r, path)
  })
}

const saved = r => (r.direct === Infinity ? 1e6 : r.direct - r.cost)
const savedText = r => (r.direct === Infinity ? 'only way' : r.direct - r.cost < 0.05 ? '–' : ms(r.direct - r.cost))

/** Marks what a row saves, and whether it is the path on the map. */
function mark(tr, r, path) {
  tr.cells[3].className = r.direct - r.cost >= 1 ? 'n gain' : 'n'
  if (path && path.join() === r.path.join()) tr.setAttribute('aria-current', 'true')
  else tr.removeAttribute('aria-current')
}

function uptime(s) {
  return s >= 172_800 ? `${Math.floor(s / 86_400)} days` : s >= 7_200 ? `${Math.floor(s / 3_600)} h` : s >= 120 ? `${Math.floor(s / 60)} min` : `${Math.floor(s)} s`
}

export function showOverlay(mesh, pairs, isSample, path, onPath) {
  const counts = BARS.map(() => 0)
  for (const p of pairs) counts[p.direct === Infinity ? BARS.length - 1 : SAVED_MS.filter(s => p.gain >= s).length]++
  const most = Math.max(...counts, 1)
  list($('bars'), BARS.map((label, i) => ({ label, n: counts[i] })), b => b.label, b => {
    const li = element('li')
    const bar = element('span', 'bar')
    li.append(element('span', '', b.label), bar, element('span', 'n'))
    return li
  }, (li, b) => {
    li.children[1].style.setProperty('--share', `${(100 * b.n) / most}%`)
    write(li.children[2], `${b.n}, ${share(b.n, pairs.length)}`)
  })
  const mean = key => pairs.reduce((sum, p) => sum + p[key], 0) / pairs.length
  const linked = pairs.filter(p => p.direct < Infinity)
  const direct = linked.reduce((sum, p) => sum + p.direct, 0) / linked.length
  write($('overlay-note'), pairs.length
    ? `${plural(pairs.length, 'pair')}${isSample ? ', a sample' : ''}: on average ${ms(direct)} ms directly, ${ms(mean('cost'))} ms by the mesh, one way, as the mesh reckons it: with half a millisecond for each hop, and more where packets are lost.`
    : 'There are no pairs yet.')
  const only = $('overlay-filter').value.trim().toLowerCase()
  const shown = pairs.filter(p => !only || [p.from, p.to].some(id => nameOf(mesh, id).toLowerCase().includes(only)))
    .filter(p => only || p.gain >= 0.5).sort((a, b) => saved(b) - saved(a)).slice(0, MAX_ROWS)
  list($('overlay-rows'), shown, p => `${p.from}-${p.to}`, () => row(['row', 'n', 'n', 'n', 'via'], tr => onPath(tr.path)), (tr, p) => {
    tr.path = p.path
    cells(tr, [`${nameOf(mesh, p.from)} – ${nameOf(mesh, p.to)}`, ms(p.direct), ms(p.cost), savedText(p), via(mesh, p.path)])
    mark(tr, p, path)
  })
}

export function showRates(mesh) {
  const most = Math.max(1, ...mesh.history.flatMap(t => [t.delivered, t.published, t.relayed]))
  write($('chart-most'), `${rate(most)}/s`)
  for (const key of ['delivered', 'published', 'relayed']) {
    const points = mesh.history.map((t, i) => `${600 - 5 * (mesh.history.length - 1 - i)},${(116 - (112 * t[key]) / most).toFixed(1)}`).join(' ')
    document.querySelector(`#chart .${key}`).setAttribute('points', points)
    write($(`now-${key}`), rate(mesh.history.at(-1)?.[key] ?? 0))
  }
  const nodes = [...mesh.nodes.values()].sort((a, b) => a.name.localeCompare(b.name)).slice(0, MAX_ROWS)
  list($('rates-rows'), nodes, n => n.id, () => row(['', 'n', 'n', 'n', 'n', 'n', 'n']), (tr, n) => {
    const sent = [...n.ends.values()].reduce((sum, l) => sum + l.sent, 0)
    const drops = Object.values(n.drops).reduce((sum, x) => sum + x, 0)
    cells(tr, [n.name, String(n.rates.connections ?? 0), rate(n.rates.published ?? 0), rate(n.rates.delivered ?? 0), rate(n.rates.relayed ?? 0), bytes(sent), rate(drops)])
    tr.cells[6].title = Object.entries(n.drops).map(([reason, x]) => `${reason} ${rate(x)}/s`).join(', ')
  })
}

const SAME_MS = 5_000 // within which several nodes that say the same mean one event
const BURST_MS = 2_000 // within which events of a kind are a burst, of which
const BURST_SHOWN = 4 // stand each for itself, and the others together

/** Takes events as they come, and shows the latest: one where both ends of a link or route, or all nodes, say the same. */
export class EventList {
  #shown = [] // newest first
  #bursts = new Map() // kind -> the latest: { at, shown, rest }

  add(mesh, events) {
    for (const e of events) {
      const about = subject(e)
      const same = this.#shown.find(s => s.kind === e.kind && s.about === about && e.at - s.at < SAME_MS)
      if (!same) this.#put({ ...e, about, by: [e.by], key: `${e.at}-${e.kind}-${about}-${e.by}`, clock: new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }) })
      else if (!same.by.includes(e.by)) same.by.push(e.by)
    }
    this.#shown.length = Math.min(this.#shown.length, 200)
  }

  #put(e) {
    let burst = this.#bursts.get(e.kind)
    if (!burst || e.at - burst.at > BURST_MS) this.#bursts.set(e.kind, burst = { at: e.at, shown: 0 })
    if (burst.shown++ < BURST_SHOWN) this.#shown.unshift(e)
    else if (!burst.rest) this.#shown.unshift(burst.rest = { ...e, about: undefined, others: new Map([[e.about, e.name]]) })
    else burst.rest.others.set(e.about, e.name)
  }

  show() {
    $('events-none').hidden = this.#shown.length > 0
    $('events').hidden = this.#shown.length === 0
    list($('events'), this.#shown, e => e.key, e => {
      const li = element('li', e.kind.replace('link-', ''))
      const what = element('span')
      what.append(element('b'), element('span'))
      li.append(element('time', '', e.clock), what)
      return li
    }, (li, e) => {
      const [bold, rest] = words(e)
      write(li.children[1].children[0], bold)
      write(li.children[1].children[1], rest)
    })
  }
}

/** What an event is about, the same whichever end of a link or route tells it. */
function subject(e) {
  const onward = path => (e.by < e.node ? path : [...path].reverse()).join()
  return e.kind.startsWith('link') ? linkKey(e.by, e.node) : e.kind === 'rerouted' ? `${linkKey(e.by, e.node)} ${onward(e.path)} ${onward(e.was)}` : e.node
}

const KINDS = { 'link-down': 'Link down', 'link-up': 'Link up', joined: 'Joined', left: 'Left', rerouted: 'Re-routed' }

/** An event for people: what, in bold, and the rest. */
function words(e) {
  if (e.others) {
    const counts = new Map()
    for (const name of e.others.values()) counts.set(name, (counts.get(name) ?? 0) + 1)
    const mostly = [...counts].find(([, n]) => n > 1 && n > e.others.size / 2)
    return [KINDS[e.kind] ?? e.kind, ` ${e.others.size} more at the same time${mostly ? `, mostly ${mostly[0]}` : ''}`]
  }
  const route = (path, cost) => (path.length === 0 ? 'no way' : `${path.length === 2 ? 'direct' : path.slice(1, -1).join(' > ')} (${ms(cost)} ms)`)
  switch (e.kind) {
    case 'link-down':
    case 'link-up': return [KINDS[e.kind], ` ${e.byName} – ${e.name}`]
    case 'joined':
    case 'left': return [KINDS[e.kind], ` ${e.name}, seen by ${plural(e.by.length, 'node')}`]
    case 'rerouted': return [KINDS[e.kind], ` ${e.byName} ${e.by.length > 1 ? '–' : 'to'} ${e.name}: ${route(e.path, e.cost)}, was ${route(e.was, e.prev)}`]
    default: return [e.kind, ` ${e.name}`]
  }
}
