/** What a run of the simulator over many seeds prints with `--json`. */
export interface RunReport {
  readonly firstSeed: number
  /** Seeds run: fewer than asked for if time was up. */
  readonly seeds: number
  /** How often each kind of fault and work happened. */
  readonly counts: Readonly<Record<string, number>>
  readonly failures: readonly { readonly seed: number; readonly message: string; readonly trace: readonly string[] }[]
  /** Kinds of faults and work that never happened, in a set of seeds that is large enough and did not fail. */
  readonly missing: readonly string[]
  /** Of everything that happened under each seed. */
  readonly digests: readonly string[]
  readonly seconds: number
}
