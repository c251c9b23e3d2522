/**
 * The dashboard. It subscribes the reserved channels on which nodes report (package mesh/report) over the node's own WebSocket, so nodes collect nothing when
 * no such page is open, and shows what Mesh makes of the reports.
 */

import { Client } from '../fastpubsub.js'
import { $, ms, options, plural, rate, write } from './dom.js'
import { MapView } from './map.js'
import { Mesh } from './model.js'
import { EventList, showNode, showOverlay, showRates, showTiles } from './panels.js'
import { TryIt } from './try.js'

const PANELS_MS = 1_000 // between two looks at everything but the map, which follows each report
const SLOW_NODES = 200 // from which the panels are brought up to date more rarely

const mesh = new Mesh()
const events = new EventList()
let chosen
let path

// ---- theme

const dark = matchMedia('(prefers-color-scheme: dark)')

function theme() {
  const is = localStorage.getItem('theme') ?? (dark.matches ? 'dark' : 'light')
  document.documentElement.dataset.theme = is
  $('theme').setAttribute('aria-pressed', String(is === 'dark'))
  map.draw()
}

$('theme').addEventListener('click', () => {
  localStorage.setItem('theme', document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark')
  theme()
})
dark.addEventListener('change', theme)

// ---- map

const map = new MapView($('canvas'), mesh, {
  onChoose: id => choose(id),
  onHover: (id, x, y) => {
    const n = mesh.nodes.get(id)
    $('tip').hidden = !n
    if (!n) return
    const up = [...n.ends.values()].filter(l => l.up)
    $('tip').textContent = `${n.name}${n.region ? `, ${n.region}` : ''}\n${plural(up.length, 'link')} up, nearest ${ms(Math.min(...up.map(l => l.rtt)))} ms away\n${rate(n.rates.relayed ?? 0)}/s relayed, ${plural(n.rates.connections ?? 0, 'client')}`
    $('tip').style.left = `${Math.min(x + 14, $('stage').clientWidth - $('tip').offsetWidth - 4)}px`
    $('tip').style.top = `${Math.min(y + 14, $('stage').clientHeight - $('tip').offsetHeight - 4)}px`
  },
})
theme()

function choose(id) {
  chosen = id || undefined
  path = undefined
  showChoice()
}

/** Draws one path, or none where it is the one drawn. */
function follow(p) {
  path = path && p && path.join() === p.join() ? undefined : p
  showChoice()
}

function showChoice() {
  map.chosen = chosen
  map.path = path
  $('node').value = chosen ?? ''
  showNode(mesh, chosen, path, follow)
  map.draw()
  panels()
}

for (const view of ['map', 'graph']) {
  $(`view-${view}`).addEventListener('click', () => show(view))
}

function show(view) {
  map.view = view
  for (const other of ['map', 'graph']) $(`view-${other}`).setAttribute('aria-pressed', String(other === view))
  map.draw()
}

$('node').addEventListener('change', () => choose($('node').value))
$('overlay-filter').addEventListener('input', () => panels())

// ---- what is shown

let hasPlaces = true

/** Once some nodes have reported: without a place the world shows nothing. */
function lookForPlaces() {
  const has = mesh.nodes.size === 0 || [...mesh.nodes.values()].some(n => n.place)
  if (has !== hasPlaces) show(has ? 'map' : 'graph')
  hasPlaces = has
}

function panels() {
  const { pairs, isSample } = mesh.pairs()
  showTiles(mesh, pairs)
  showOverlay(mesh, pairs, isSample, path, follow)
  showRates(mesh)
  showNode(mesh, chosen, path, follow)
  options($('node'), [...mesh.nodes.values()].sort((a, b) => a.name.localeCompare(b.name)).map(n => [n.id, n.name]), 1)
  tryIt.show()
  showEmpty()
}

/** Says why nothing is there. */
function showEmpty() {
  $('empty').hidden = mesh.nodes.size > 0
  write($('empty'), document.body.dataset.status === 'open' ? 'Waiting for the first reports' : 'Not connected')
}

/** A path that no longer is the route of its ends gives way to the one that is. */
function keepUp() {
  if (path && !(path = mesh.routes(path[0]).get(path.at(-1))?.path)) path = undefined
  if (chosen && !mesh.nodes.has(chosen)) chosen = undefined
  map.chosen = chosen
  map.path = path
}

let turn = 0
setInterval(() => {
  mesh.tick(performance.now())
  keepUp()
  map.draw()
  if (mesh.nodes.size < SLOW_NODES || ++turn % 5 === 0) panels()
}, PANELS_MS)

let soon // a pending look at what a report changed
function take(message) {
  let report
  try {
    report = message.json()
  } catch {
    return
  }
  const happened = mesh.take(report, performance.now())
  events.add(mesh, happened)
  if (happened.length) map.flash(happened, performance.now())
  soon ??= setTimeout(() => {
    soon = undefined
    lookForPlaces()
    keepUp()
    map.draw()
    events.show()
    if (mesh.nodes.size < SLOW_NODES) showNode(mesh, chosen, path, follow)
  }, 50)
}

// ---- connection

const tryIt = new TryIt(mesh, p => {
  path = undefined
  follow(p)
})
let client

function status(name, text) {
  document.body.dataset.status = name
  write($('state-text'), text)
  showEmpty()
}

function refuse(why) {
  status('refused', 'not allowed')
  $('login').hidden = false
  write($('login-why'), why)
  $('token').focus()
}

/** Asks the node who it is, which takes the same right as the reports, and says why if it refuses. */
async function connect(token) {
  client?.close()
  status('connecting', 'connecting')
  let response
  try {
    response = await fetch('/v1/mesh', { cache: 'no-store', headers: token ? { Authorization: `Bearer ${token}` } : {} })
  } catch {
    status('lost', 'no connection')
    setTimeout(() => connect(token), 2_000)
    return
  }
  if (response.status === 401 || response.status === 403) {
    sessionStorage.removeItem('token')
    refuse(token ? 'This token does not allow it: one is needed that may subscribe to $mesh.# in the tenant ~.' : 'This node wants a token that may subscribe to $mesh.# in the tenant ~.')
    return
  }
  const { node = {} } = await response.json()
  if (token) sessionStorage.setItem('token', token)
  $('login').hidden = true
  write($('here'), node.name ? `at ${node.name}` : '')
  tryIt.connect(node.id, token)
  client = new Client({ url: '/ws', token })
  client.on('status', s => status(s, { open: 'live', moving: 'live', connecting: 'connecting', lost: 'reconnecting', closed: 'closed' }[s] ?? s))
  client.on('slow', n => write($('state-text'), `too slow: ${plural(n, 'report')} missed`))
  client.subscribe('$mesh.#', take).ready.catch(e => refuse(e.message))
}

$('login').addEventListener('submit', e => {
  e.preventDefault()
  connect($('token').value.trim())
})
const given = new URLSearchParams(location.hash.slice(1)).get('token')
if (given) history.replaceState(null, '', location.pathname)
connect(given ?? sessionStorage.getItem('token') ?? undefined)
panels()
