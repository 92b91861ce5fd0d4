/**
 * A trail has no byte that can change unnoticed: 500 flips over all its files, each reported, either as a problem or,
 * where C2SP obliges verifiers to ignore a line or a redundant file, as a finding that names it.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { auditTrail, trailFiles, type AuditReport } from '@cipherlog/audit'
import { cachedVerifier, createInlineVerifier } from '@cipherlog/proof'
import { Prng } from '@cipherlog/testkit'
import { buildRichTrail, type RichTrail } from './rich-trail.ts'

const flipsTotal = 500
const flipsPerFile = 8
const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

let rich: RichTrail
const verifier = cachedVerifier(createInlineVerifier(), 64)
const audit = (files: ReadonlyMap<string, Uint8Array>, replay: boolean): Promise<AuditReport> =>
  auditTrail(trailFiles(files), { trustPolicy: rich.trustPolicy, verifier, replay })

beforeAll(async () => {
  rich = await buildRichTrail()
}, 120_000)

describe(`byte flips (CIPHERLOG_SEED=${seed})`, () => {
  test('the trail is valid and complete before anybody touches it', async () => {
    const report = await audit(rich.files, true)
    expect(report.problems).toEqual([])
    expect(report).toMatchObject({ valid: true, complete: true, treeSize: rich.size, leavesReplayed: rich.size })
    expect(rich.size).toBeGreaterThan(300)
    expect([...rich.files.keys()]).toEqual(expect.arrayContaining(['tile/0/000', 'tile/1/000.p/1', 'checkpoint']))
    expect(report.proofsChecked).toBe(rich.proofs)
    expect(new Set(report.findings.map(({ code }) => code))).toEqual(new Set(['unknown signature line']))
  })

  test(`each of ${flipsTotal} flips is reported`, async () => {
    const random = new Prng(seed)
    const before = await audit(rich.files, false)
    const counts = new Map<string, number>()
    const unreported: string[] = []
    for (const { path, at } of positions(random)) {
      const flipped = rich.files.get(path)!.slice()
      const bits = random.between(1, 255)
      flipped[at]! ^= bits
      const files = new Map(rich.files).set(path, flipped)
      // Files first; what they do not show, the replay must.
      let report = await audit(files, false)
      let how = howReported(report, before, path)
      if (how === undefined) {
        report = await audit(files, true)
        how = howReported(report, before, path)
      }
      counts.set(how ?? 'unreported', (counts.get(how ?? 'unreported') ?? 0) + 1)
      if (how === undefined) unreported.push(`${path} byte ${at} ^ ${bits}`)
    }
    console.info(`${flipsTotal} flips, seed ${seed}:`, Object.fromEntries([...counts].sort(([, a], [, b]) => b - a)))
    expect(unreported).toEqual([])
  }, 300_000)
})

/** Some in every file, the rest over all bytes. */
function positions(random: Prng): { path: string; at: number }[] {
  const files = [...rich.files]
  const out = files.flatMap(([path, bytes]) =>
    Array.from({ length: flipsPerFile }, () => ({ path, at: random.between(0, bytes.length - 1) })),
  )
  const bytesTotal = files.reduce((sum, [, bytes]) => sum + bytes.length, 0)
  while (out.length < flipsTotal) {
    let at = random.between(0, bytesTotal - 1)
    const [path] = files.find(([, bytes]) => (at -= bytes.length) < 0)!
    out.push({ path, at: at + rich.files.get(path)!.length })
  }
  expect(out).toHaveLength(flipsTotal)
  return out
}

/** By which code the report says that `path` was changed; undefined if it does not. */
function howReported(report: AuditReport, before: AuditReport, path: string): string | undefined {
  const [problem] = report.problems
  if (problem !== undefined) {
    expect(report.valid).toBe(false)
    expect(problem.where).toMatch(/^(?:leaf \d+|tile\/|checkpoint|policy-chain)/)
    return problem.code
  }
  const finding = report.findings.find(
    ({ code, where }) =>
      (code === 'redundant file differs' && where === path) ||
      (code === 'unknown signature line' && where.startsWith(path)),
  )
  // A line that nobody knows is named before and after: whose line it is may have changed, what it means has not.
  const known = before.findings.some(({ where }) => where === finding?.where)
  return finding && (known ? `${finding.code} (as before)` : finding.code)
}
