/** A bar of text for work whose end is known. */

/** `████░░ 40/100, about 3 s left`. @param elapsedMs - since the start; what is left is reckoned at the same pace. */
export function progressBar(done: number, total: number, elapsedMs: number, width = 28): string {
  const share = total === 0 ? 1 : Math.min(1, done / total)
  const filled = Math.round(share * width)
  return `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${done}/${total}${timeLeft(done, total, elapsedMs)}`
}

function timeLeft(done: number, total: number, elapsedMs: number): string {
  // The first second tells nothing about the pace.
  if (done === 0 || done >= total || elapsedMs < 1000) return ''
  const seconds = Math.ceil(((elapsedMs / done) * (total - done)) / 1000)
  return seconds < 60 ? `, about ${seconds} s left` : `, about ${Math.ceil(seconds / 60)} min left`
}
