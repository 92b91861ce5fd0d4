/** What must have happened in a set of seeds, or it has tested less than it says. */
export const kinds: readonly string[] = [
  // Faults of the network
  ...['message lost', 'message repeated', 'message cut off', 'path clogged'],
  ...['partition (size)', 'partition (split)', 'partition (one isolated)', 'partition healed'],
  ...['partition (size, one-way)', 'partition (split, one-way)', 'partition (one isolated, one-way)'],
  // of processes, disks and clocks
  ...['process killed', 'power lost', 'power lost everywhere', 'crash at a write', 'pause', 'restart'],
  ...['disk hung', 'disk slow', 'disk full', 'replica stopped by itself', 'clock jump'],
  ...['bit flipped (wal)', 'bit flipped (trail)', 'write misdirected (wal)', 'write misdirected (trail)'],
  ...['snapshot taken', 'snapshot installed', 'snapshot chunk fetched', 'log compacted', 'payload repaired'],
  // of members and leaders
  ...['disk wiped', 'cosigner set changed', 'learner added', 'replica replaced', 'voter removed', 'voter added'],
  ...['leadership transferred', 'leadership not transferred', 'leader stepped down', 'leader forgotten'],
  // Work
  ...[
    'put',
    'delete',
    'append',
    'add',
    'read',
    'read of nothing',
    'sum read',
    'receipt verified',
    'bundle sent again',
    'forged proof refused',
  ],
  ...['client connected', 'client restarted', 'client saw ERR_OUTCOME_UNKNOWN'],
  ...['key rotated', 'client revoked', 'revoked client stopped', 'client added', 'trail audited'],
]

/** Kinds that `counts` lacks. */
export function missingKinds(counts: Readonly<Record<string, number>>): string[] {
  return kinds.filter((kind) => !((counts[kind] ?? 0) > 0))
}
