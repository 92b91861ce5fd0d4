/** Columns of text: as wide as their widest cell, two spaces apart. */

/**
 * @param head - titles, one for each column.
 * @param lastWidth - where sentences of the last column are broken.
 */
export function table(
  head: readonly string[],
  sentences: readonly (readonly string[])[],
  lastWidth = Infinity,
): string {
  const rows = sentences.flatMap((row) => broken(row, lastWidth))
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd()
  return [line(head), line(widths.map((width) => '─'.repeat(width))), ...rows.map(line)].join('\n')
}

/** A row as several, if its last cell is too wide: the others are empty from the second on. */
function broken(row: readonly string[], lastWidth: number): string[][] {
  const others = row.slice(0, -1)
  const lines: string[] = ['']
  for (const word of (row.at(-1) ?? '').split(' ')) {
    const line = lines.at(-1)!
    if (line !== '' && line.length + 1 + word.length > lastWidth) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines.map((line, i) => [...(i === 0 ? others : others.map(() => '')), line])
}
