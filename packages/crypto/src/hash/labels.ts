/**
 * Every label of the protocol (DESIGN §5, "Numbers"): what keeps a signature, hash or key made for one purpose
 * from meaning anything for another. A label is ASCII, so it never contains the 00 byte that ends it.
 */
export const labels = Object.freeze({
  // Signatures, over label ‖ 00 ‖ SHA-256(bytes).
  keyEvent: 'cipherlog/v1/key-event',
  groupStart: 'cipherlog/v1/group-start',
  quarantine: 'cipherlog/v1/quarantine',
  pop: 'cipherlog/v1/pop',
  ready: 'cipherlog/v1/ready',
  endorse: 'cipherlog/v1/endorse',
  openSession: 'cipherlog/v1/open-session',
  bundle: 'cipherlog/v1/bundle',
  applied: 'cipherlog/v1/applied',
  statement: 'cipherlog/v1/statement',
  readRequest: 'cipherlog/v1/read-request',
  // Hashes, SHA-256(label ‖ 00 ‖ bytes).
  context: 'cipherlog/v1/context',
  envelopeId: 'cipherlog/v1/envelope-id',
  readerKey: 'cipherlog/v1/reader-key',
  cell: 'cipherlog/v1/cell',
  cellChain: 'cipherlog/v1/cell-chain',
  batchSeed: 'cipherlog/v1/batch-seed',
  elgamalPop: 'cipherlog/v1/elgamal-pop',
  // Keyed hashes, HMAC-SHA256(key, label ‖ 00 ‖ CBOR array).
  value: 'cipherlog/v1/value',
  salt: 'cipherlog/v1/salt',
  commit: 'cipherlog/v1/commit',
  name: 'cipherlog/v1/name',
  // HPKE info.
  envelopeInfo: 'cipherlog/v1/envelope-info',
} as const)

/** One of the protocol's labels. */
export type Label = (typeof labels)[keyof typeof labels]
