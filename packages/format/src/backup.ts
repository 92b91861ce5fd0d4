/**
 * Backups: the trail up to a published checkpoint says everything but the wraps of content keys, which trails do not
 * hold; a backup keeps those in files of some envelopes each. No replica key and no signed head is in it.
 */
import { array, bytes, record, type TypeOf } from '@cipherlog/core'
import { digest } from './common.ts'

/** The wraps of one envelope, as its command carried them. */
export const backedUpEnvelope = record('backed-up-envelope', { id: [1, digest], wraps: [2, bytes(1, 131_072)] })
export type BackedUpEnvelope = TypeOf<typeof backedUpEnvelope>

/** Envelopes of one file. */
export const envelopesPerFile = 1024

/** A file of them: `envelopes/<number, 6 digits>`, counted from 0. */
export const backedUpEnvelopes = array(backedUpEnvelope, envelopesPerFile, 1)
/** Longest file. */
export const backedUpEnvelopesBytesMax = 160 * 1024 * 1024
