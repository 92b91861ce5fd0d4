/**
 * Which of a head's optional parts a command has. Every operation says exactly which ones it takes: a part that
 * nobody reads would be signed and kept for ever, and a circuit that nobody checks would look like a proof.
 */
import { type CommandHead } from '@cipherlog/format'

const optionalParts = ['key', 'envelope', 'circuit', 'args', 'ciphertext', 'proof', 'wraps'] as const
export type HeadPart = (typeof optionalParts)[number]

/** True if the head has these optional parts and no other. */
export function hasExactly(head: CommandHead, parts: readonly HeadPart[]): boolean {
  return optionalParts.every((part) => (head[part] !== undefined) === parts.includes(part))
}
