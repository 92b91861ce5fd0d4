/** Bytes, ids, deterministic CBOR, errors, and time, randomness and logging as parameters. No I/O. */
export * from './bytes.ts'
export * from './cbor.ts'
export * from './codec.ts'
export * from './environment.ts'
export * from './errors.ts'
export type * from './ids.ts'
