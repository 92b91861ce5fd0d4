/**
 * The replicas' signatures of checkpoints: made, checked, and kept until their size is published or passed.
 *
 * Invariants: what is kept has been verified under the keys that a set lists for its sender, each line by itself; a
 * peer, however it lies, holds no more than a bounded number of places.
 */
import { CipherlogError, equalBytes, toHex } from '@cipherlog/core'
import { type CosignerMember, type CosignerSet } from '@cipherlog/format'
import {
  cosignatureKeyType,
  cosignerName,
  ed25519KeyType,
  formatCheckpoint,
  keyId,
  parseSignatureLine,
  verifyNoteSignature,
  type VerifierKey,
} from '@cipherlog/merkle/verify'
import { assembleNote, cosignCheckpoint, signCheckpoint } from '@cipherlog/merkle/tree'

/** One replica's signatures of a size, as they travel between peers. */
export interface SignatureLines {
  readonly size: number
  readonly rootHash: Uint8Array
  /** Note lines: the log's, then the cosigner's. */
  readonly logLine: string
  readonly cosignerLine: string
}

/** Lines that have been verified, and under which keys. */
export interface Cosignature {
  /** Lowercase hex. */
  readonly peerId: string
  readonly lines: SignatureLines
  readonly member: CosignerMember
  /** Seconds since the Unix epoch, as the peer claims. */
  readonly timeSeconds: number
}

/** Whose signatures these are. */
export interface CosigningNames {
  readonly origin: string
  readonly clusterName: string
}

/**
 * Sizes kept for each peer, the newest: a replica that is further behind signs only the newest as well. Sizes that
 * are pinned, since nothing larger may be published before them, come on top.
 */
export const sizesPerPeerMax = 256
/** Roots kept for one peer and size: the second proves that it lies, a third would add nothing. */
const rootsPerSizeMax = 2
/** A time this far ahead of our clock is replaced by a sane one, even if that is earlier. */
const aheadSecondsMax = 60

export class Cosignatures {
  readonly #names: CosigningNames
  readonly #setsFor: (size: number) => readonly CosignerSet[]
  readonly #byPeer = new Map<string, Map<number, Cosignature[]>>()

  constructor(names: CosigningNames, setsFor: (size: number) => readonly CosignerSet[]) {
    this.#names = names
    this.#setsFor = setsFor
  }

  /** What the sets that govern this size list of a peer: nothing, if its signature counts for nothing. */
  members(peerId: Uint8Array, size: number): readonly CosignerMember[] {
    return this.#setsFor(size).flatMap((set) => set.members.filter((member) => equalBytes(member.peerId, peerId)))
  }

  /** Whether exactly these lines are kept already. */
  has(peerId: string, { size, rootHash, logLine, cosignerLine }: SignatureLines): boolean {
    return this.#of(peerId, size).some(
      ({ lines }) =>
        lines.cosignerLine === cosignerLine && lines.logLine === logLine && equalBytes(lines.rootHash, rootHash),
    )
  }

  /**
   * Checks a peer's lines.
   * @throws CipherlogError `ERR_POLICY_COSIGNER` if it is no member for this size; `ERR_DECODE_*`, `ERR_VERIFY_*`.
   */
  verify(peerId: Uint8Array, lines: SignatureLines): Cosignature {
    const text = formatCheckpoint({ origin: this.#names.origin, size: lines.size, rootHash: lines.rootHash })
    // Each line by itself: a note of both would verify with the two exchanged.
    const [logLine, cosignerLine] = [parseSignatureLine(lines.logLine), parseSignatureLine(lines.cosignerLine)]
    const members = this.members(peerId, lines.size)
    const member =
      members.find((candidate) => keyId(cosignerKeyOf(this.#names, candidate)) === cosignerLine.keyId) ?? members[0]
    if (member === undefined) {
      throw new CipherlogError('ERR_POLICY_COSIGNER', 'The sender is in no cosigner set of this size.', {
        details: { peer: toHex(peerId), size: lines.size },
      })
    }
    verifyNoteSignature(text, logLine, this.#logKey(member))
    const { timeSeconds } = verifyNoteSignature(text, cosignerLine, cosignerKeyOf(this.#names, member))
    return { peerId: toHex(peerId), lines, member, timeSeconds: timeSeconds! }
  }

  #logKey({ logKey }: CosignerMember): VerifierKey {
    return { name: this.#names.origin, type: ed25519KeyType, publicKey: logKey }
  }

  /**
   * Keeps what was verified; a newer cosignature replaces the older one.
   * @param pinned - sizes that must stay.
   * @returns other lines of the same peer for the same size under another root, if there are some: it lies.
   */
  add(cosignature: Cosignature, pinned: (size: number) => boolean, nowSeconds: number): Cosignature | undefined {
    const { peerId, lines } = cosignature
    const sizes = this.#byPeer.get(peerId) ?? new Map<number, Cosignature[]>()
    this.#byPeer.set(peerId, sizes)
    const kept = sizes.get(lines.size) ?? []
    sizes.set(lines.size, kept)
    const at = kept.findIndex((other) => equalBytes(other.lines.rootHash, lines.rootHash))
    if (at !== -1) {
      const before = kept[at]!.timeSeconds
      if (before <= cosignature.timeSeconds || before > nowSeconds + aheadSecondsMax) kept[at] = cosignature
    } else if (kept.length < rootsPerSizeMax) {
      kept.push(cosignature)
    }
    const others = [...sizes.keys()].filter((size) => !pinned(size)).sort((a, b) => a - b)
    for (const size of others.slice(0, Math.max(0, others.length - sizesPerPeerMax))) sizes.delete(size)
    return kept.find((other) => !equalBytes(other.lines.rootHash, lines.rootHash))
  }

  #of(peerId: string, size: number): readonly Cosignature[] {
    return this.#byPeer.get(peerId)?.get(size) ?? []
  }

  /** What the members of `set` have signed for `size`: under the keys that this very set lists. */
  by(set: CosignerSet, size: number): Cosignature[] {
    return set.members.flatMap((member) =>
      this.#of(toHex(member.peerId), size).filter(
        (cosignature) =>
          equalBytes(cosignature.member.logKey, member.logKey) &&
          equalBytes(cosignature.member.cosignerKey, member.cosignerKey),
      ),
    )
  }

  /** Forgets all sizes below. */
  forgetBelow(size: number): void {
    for (const sizes of this.#byPeer.values()) for (const old of sizes.keys()) if (old < size) sizes.delete(old)
  }
}

/** A replica's own signatures of a size. Whoever calls it has made sure that no other root was ever signed. */
export function signLines(
  names: CosigningNames,
  self: { readonly peerId: Uint8Array; readonly logKey: Uint8Array; readonly cosignerKey: Uint8Array },
  { size, rootHash }: { readonly size: number; readonly rootHash: Uint8Array },
  timeSeconds: number,
): SignatureLines {
  const text = formatCheckpoint({ origin: names.origin, size, rootHash })
  const cosigner = cosignerName(names.clusterName, toHex(self.peerId))
  return {
    size,
    rootHash,
    logLine: signCheckpoint(text, { name: names.origin, secretKey: self.logKey }),
    cosignerLine: cosignCheckpoint(text, { name: cosigner, secretKey: self.cosignerKey, timeSeconds }),
  }
}

/** The key under which a replica's cosignatures verify. */
export function cosignerKeyOf({ clusterName }: CosigningNames, { peerId, cosignerKey }: CosignerMember): VerifierKey {
  return { name: cosignerName(clusterName, toHex(peerId)), type: cosignatureKeyType, publicKey: cosignerKey }
}

/** The lines as a note of their own, which anyone can verify: evidence. */
export function noteOf({ origin }: CosigningNames, lines: SignatureLines): string {
  const text = formatCheckpoint({ origin, size: lines.size, rootHash: lines.rootHash })
  return assembleNote(text, [lines.logLine, lines.cosignerLine])
}
