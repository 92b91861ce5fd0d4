/** Cumulative distributions as an SVG: one panel above the other, logarithmic time, a stepped line per distribution. */

export interface Line {
  readonly label: string
  /** Sorted, positive. */
  readonly values: readonly number[]
}

export interface Panel {
  readonly title: string
  readonly lines: readonly Line[]
}

export interface Axis {
  readonly title: string
  /** Ends of the axis, powers of ten. */
  readonly from: number
  readonly to: number
}

const width = 760
const panelHeight = 300
const left = 64
const right = 150
const top = 34
const bottom = 44
/** Told apart without colour vision too (Okabe and Ito). */
const colours = ['#000000', '#e69f00', '#56b4e9', '#009e73', '#d55e00', '#cc79a7']
const dashes = ['', '7 3', '2 3', '9 3 2 3', '4 2', '1 2']

export function plot(panels: readonly Panel[], axis: Axis): string {
  const height = panels.length * panelHeight
  const parts = panels.map((panel, at) => drawPanel(panel, axis, at * panelHeight))
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="sans-serif" font-size="12">\n` +
    `<rect width="100%" height="100%" fill="#ffffff"/>\n${parts.join('')}</svg>\n`
  )
}

function drawPanel({ title, lines }: Panel, axis: Axis, offset: number): string {
  const innerWidth = width - left - right
  const innerHeight = panelHeight - top - bottom
  const decades = Math.log10(axis.to / axis.from)
  const x = (value: number): number => left + (Math.log10(value / axis.from) / decades) * innerWidth
  const y = (share: number): number => offset + top + (1 - share) * innerHeight
  const out: string[] = [text(left, offset + 20, title, 'start', 'bold')]

  for (let value = axis.from; value <= axis.to; value *= 10) {
    out.push(line(x(value), y(0), x(value), y(1), '#dddddd'), text(x(value), y(0) + 16, String(value), 'middle'))
    for (let part = 2; part < 10 && value < axis.to; part++) {
      out.push(line(x(value * part), y(0), x(value * part), y(0) + 4, '#999999'))
    }
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    out.push(line(left, y(share), left + innerWidth, y(share), '#dddddd'))
    out.push(text(left - 8, y(share) + 4, `${share * 100} %`, 'end'))
  }
  out.push(text(left + innerWidth / 2, y(0) + 34, axis.title, 'middle'))

  for (const [at, { label, values }] of lines.entries()) {
    const colour = colours[at % colours.length]!
    const dash = dashes[at % dashes.length]!
    const style = `fill="none" stroke="${colour}" stroke-width="1.8"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}`
    // A hundred points show what a thousand would.
    const points = Array.from({ length: 101 }, (_, percent) => {
      const value = values[Math.min(values.length - 1, Math.floor((percent / 100) * values.length))]!
      return `${x(Math.min(Math.max(value, axis.from), axis.to)).toFixed(1)},${y(percent / 100).toFixed(1)}`
    })
    const legendY = offset + top + 8 + at * 18
    const legendX = left + innerWidth + 14
    out.push(`<polyline points="${points.join(' ')}" ${style}/>\n`)
    out.push(`<path d="M${legendX} ${legendY}h28" ${style}/>\n`, text(legendX + 34, legendY + 4, label, 'start'))
  }
  return out.join('')
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string): string {
  return `<path d="M${x1.toFixed(1)} ${y1.toFixed(1)}L${x2.toFixed(1)} ${y2.toFixed(1)}" stroke="${colour}"/>\n`
}

function text(x: number, y: number, says: string, anchor: 'start' | 'middle' | 'end', weight = 'normal'): string {
  const escaped = says.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" font-weight="${weight}">${escaped}</text>\n`
}
