/**
 * What an audit says. A *problem* makes the trail invalid and names leaf, tile or line; a *finding* is something
 * that C2SP obliges a verifier to ignore, or that could not be checked, and that a person should know.
 */
import { CipherlogError } from '@cipherlog/core'

/** Stable, like error codes. */
export type FindingCode =
  /** A line of a note by a key that the trust policy does not know: it counts for nothing. */
  | 'unknown signature line'
  /** A second line by one key: only the first counts. */
  | 'repeated signature line'
  /** A partial tile that a larger file replaces, and that says something else. */
  | 'redundant file differs'
  /** Does not belong to a trail, or is no plain file; not looked at. */
  | 'unknown file'
  /** Leaves that the checkpoint does not cover yet: nobody vouches for them. Normal in a live trail. */
  | 'beyond the checkpoint'
  /** Verdicts and sums were taken from the cosigned records, not computed again. */
  | 'bodies not available'
  /** Verdicts were not computed again: files are damaged, or nobody asked for it. */
  | 'not replayed'
  /** A newer checkpoint waits for the outside witnesses that the trust policy asks for. */
  | 'not witnessed yet'
  /** Commands were set aside by a quarantine that the checkpoint does not cover yet: the cosigners' word until then. */
  | 'quarantine not covered yet'
  /** A trail of an older generation was not handed in, so what the newest goes on from was not computed again. */
  | 'older generation not at hand'
  /** Too many remarks to list. */
  | 'more remarks'

export interface AuditRemark {
  /** An error code, or a {@link FindingCode}. */
  readonly code: string
  /** File, and leaf, slot or line in it. */
  readonly where: string
  readonly message: string
}

export interface AuditReport {
  /** True if nothing is wrong; findings may remain. */
  readonly valid: boolean
  /** True if every verdict, sum and root was computed again: nothing was taken on the cosigners' word. */
  readonly complete: boolean
  readonly origin: string | undefined
  readonly cluster: string | undefined
  /** Leaves of the audited tree: those under the checkpoint. */
  readonly treeSize: number
  /** Lowercase hex. */
  readonly rootHash: string | undefined
  /** Unix seconds at which the quorum had cosigned; how old that may be is for the reader to judge. */
  readonly cosignedAt: number | undefined
  /** Leaves by kind, as recorded. */
  readonly leaves: Readonly<Record<string, number>>
  /** Commands by verdict name, as recorded. */
  readonly verdicts: Readonly<Record<string, number>>
  /** Leaves whose records were computed again from what was signed. */
  readonly leavesReplayed: number
  readonly proofsChecked: number
  readonly problems: readonly AuditRemark[]
  readonly findings: readonly AuditRemark[]
}

/** Remarks of each sort that are listed; of a trail full of garbage nobody reads more. */
export const remarksMax = 1000

/** Collects remarks; an audit goes on past a problem as far as it makes sense. */
export class Remarks {
  readonly #problems: AuditRemark[] = []
  readonly #findings: AuditRemark[] = []
  readonly #seen = new Set<string>()
  #problemCount = 0
  #findingCount = 0

  get problemCount(): number {
    return this.#problemCount
  }

  get problems(): readonly AuditRemark[] {
    return withOmitted(this.#problems, this.#problemCount)
  }

  get findings(): readonly AuditRemark[] {
    return withOmitted(this.#findings, this.#findingCount)
  }

  /** Takes over what was said about another trail. @param prefix - names it. */
  include(other: Remarks, prefix: string): void {
    for (const { code, where, message } of other.problems) this.problem(code, `${prefix}${where}`, message)
    for (const { code, where, message } of other.findings) {
      this.finding(code as FindingCode, `${prefix}${where}`, message)
    }
  }

  problem(code: string, where: string, message: string): void {
    if (this.#note(this.#problems, { code, where, message })) this.#problemCount++
  }

  finding(code: FindingCode, where: string, message: string): void {
    if (this.#note(this.#findings, { code, where, message })) this.#findingCount++
  }

  /** False if this was said before: a file may be read twice. */
  #note(to: AuditRemark[], { code, where, message }: AuditRemark): boolean {
    if (to.length >= remarksMax) return true
    const remark = { code, where: printable(where), message: printable(message) }
    const key = JSON.stringify(remark)
    if (this.#seen.has(key)) return false
    this.#seen.add(key)
    to.push(remark)
    return true
  }

  /** Runs `check`; a typed error becomes a problem at `where` and undefined. Anything else is a fault of ours. */
  attempt<T>(where: string, check: () => T): T | undefined {
    try {
      return check()
    } catch (error) {
      if (!(error instanceof CipherlogError)) throw error
      this.problem(error.code, where, error.message)
      return undefined
    }
  }
}

function withOmitted(remarks: readonly AuditRemark[], count: number): readonly AuditRemark[] {
  if (count <= remarks.length) return [...remarks]
  const code: FindingCode = 'more remarks'
  return [...remarks, { code, where: 'this report', message: `${count - remarks.length} more were left out.` }]
}

/** Names of files and keys come from the trail: what a terminal would obey is spelled out, and what is long is cut. */
function printable(text: string): string {
  const cut = text.length > 1000 ? `${text.slice(0, 1000)}…` : text
  return cut.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}
