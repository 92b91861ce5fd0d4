/**
 * What an audit says. A *problem* makes the trail invalid and names leaf, tile or line; a *finding* is something
 * that C2SP obliges a verifier to ignore, or that could not be checked, and that a person should know.
 */
import { CipherlogError } from '@cipherlog/core'

export interface AuditRemark {
  readonly code: string
  /** File, and leaf, slot or line in it. */
  readonly where: string
  readonly message: string
}

export interface AuditReport {
  /** True if nothing is wrong; findings may remain. */
  readonly valid: boolean
  readonly origin: string | undefined
  readonly cluster: string | undefined
  readonly treeSize: number
  readonly rootHash: string | undefined
  /** Unix seconds at which the quorum had cosigned. */
  readonly cosignedAt: number | undefined
  readonly leaves: Readonly<Record<string, number>>
  /** Commands by verdict name. */
  readonly verdicts: Readonly<Record<string, number>>
  readonly proofsChecked: number
  readonly problems: readonly AuditRemark[]
  readonly findings: readonly AuditRemark[]
}

/** Collects remarks; an audit goes on past a problem as far as it can. */
export class Remarks {
  readonly problems: AuditRemark[] = []
  readonly findings: AuditRemark[] = []

  problem(code: string, where: string, message: string): void {
    this.problems.push({ code, where, message })
  }

  finding(code: string, where: string, message: string): void {
    this.findings.push({ code, where, message })
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
