/** Numbers with names (DESIGN "Numbers"). They are part of the formats: never reuse one. */

/** How a command's content is sealed. */
export const suites = { hpkeXwing: 1, elgamalBjj: 2, bfv2048: 3, bfv4096: 4, bfv8192: 5 } as const
export type Suite = (typeof suites)[keyof typeof suites]
/** Names of suites as people write them. */
export const suiteNames: Readonly<Record<Suite, string>> = {
  1: 'hpke-xwing',
  2: 'elgamal-bjj',
  3: 'bfv-2048',
  4: 'bfv-4096',
  5: 'bfv-8192',
}

/** Kinds of leaves of the tree. 7 to 11 are reserved. */
export const leafKinds = {
  genesis: 0,
  keyEvent: 1,
  sessionOpening: 2,
  commandBundle: 3,
  quarantine: 4,
  batchRecord: 5,
  groupStart: 6,
} as const
export type LeafKind = (typeof leafKinds)[keyof typeof leafKinds]

/** Kinds of log entries: leaf kinds keep their number. */
export const entryKinds = {
  keyEvent: 1,
  sessionOpening: 2,
  commandBundle: 3,
  quarantine: 4,
  noOp: 32,
  mark: 33,
  membership: 34,
} as const
export type EntryKind = (typeof entryKinds)[keyof typeof entryKinds]

/** What a signing key is for; part of its proof of possession. */
export const roles = { operator: 1, recovery: 2, answer: 3, client: 4, reader: 5 } as const
export type Role = (typeof roles)[keyof typeof roles]

/** Outcome of a committed command. 0 applies it; every other leaves the state unchanged. From 64 the machine's own. */
export const verdicts = {
  applied: 0,
  notAfter: 1,
  revoked: 2,
  grant: 3,
  epoch: 4,
  envelope: 5,
  seen: 6,
  proof: 7,
  notVerified: 8,
  gate: 9,
  rotationDue: 10,
  suspended: 11,
  quarantined: 12,
  limit: 13,
  atomic: 14,
  /** The namespace's machine does not accept such a command (operation, key, arguments or bodies). */
  command: 64,
} as const
export type Verdict = number

const verdictNames = new Map<number, string>(Object.entries(verdicts).map(([name, number]) => [number, name]))
/** The name of a verdict, such as `proof`; `machine-70` for a machine's own. */
export function verdictName(verdict: Verdict): string {
  return verdictNames.get(verdict) ?? `machine-${verdict}`
}

/** States of a key version (after NIST SP 800-57 part 1 §7). */
export const keyStates = ['pending', 'active', 'grace', 'decrypt-only', 'retired', 'destroyed', 'compromised'] as const
export type KeyState = (typeof keyStates)[number]
