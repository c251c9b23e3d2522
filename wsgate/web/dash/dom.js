/** Small things that all parts of the page use. */

export const $ = id => document.getElementById(id)

/** A number of milliseconds, for people. */
export const ms = x => (x === Infinity || x === undefined ? '–' : x < 10 ? x.toFixed(1) : Math.round(x).toString())

/** A rate, for people. */
export const rate = x => (x >= 10_000 ? `${(x / 1_000).toFixed(0)}k` : x >= 100 ? Math.round(x).toString() : x >= 0.05 ? x.toFixed(1) : x > 0 ? '< 0.1' : '0')

/** Bytes a second, for people. */
export const bytes = x => (x >= 1e6 ? `${(x / 1e6).toFixed(1)} MB` : x >= 1e3 ? `${(x / 1e3).toFixed(1)} kB` : `${Math.round(x)} B`)

export const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`

/** An element with a text. */
export function element(tag, className = '', text = '') {
  const made = document.createElement(tag)
  if (className) made.className = className
  made.textContent = text
  return made
}

/** Sets a text only where it differs, so that nothing is laid out or read out anew in vain. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/**
 * Makes a list of elements show items: elements of items that stay are kept, and with them the focus. make(item) makes an element, fill(element, item) brings
 * it up to date.
 */
export function list(parent, items, key, make, fill) {
  const old = new Map([...parent.children].map(e => [e.dataset.key, e]))
  let at = parent.firstElementChild
  for (const item of items) {
    const k = key(item)
    let e = old.get(k)
    if (e) old.delete(k)
    else {
      e = make(item)
      e.dataset.key = k
    }
    fill(e, item)
    if (e === at) at = at.nextElementSibling
    else parent.insertBefore(e, at)
  }
  for (const e of old.values()) e.remove()
}

/** A table row of cells: their classes; where one is "row" the cell holds a button that calls onPress with the row. */
export function row(classes, onPress) {
  const tr = document.createElement('tr')
  for (const c of classes) {
    const td = tr.insertCell()
    if (c !== 'row') {
      td.className = c
      continue
    }
    const button = element('button', 'row')
    button.type = 'button'
    button.addEventListener('click', () => onPress(tr))
    td.append(button)
  }
  return tr
}

/** Writes the texts of a row made by row. */
export function cells(tr, texts) {
  texts.forEach((text, i) => write(tr.cells[i].firstElementChild ?? tr.cells[i], text))
}

/** Keeps the options of a select: those of items, [value, text], after the ones that the page has by itself. */
export function options(select, items, fixed = 0) {
  const wanted = JSON.stringify(items)
  if (select.dataset.options === wanted) return
  select.dataset.options = wanted
  const value = select.value
  while (select.options.length > fixed) select.remove(fixed)
  for (const [v, text] of items) select.add(new Option(text, v))
  if ([...select.options].some(o => o.value === value)) select.value = value
}
