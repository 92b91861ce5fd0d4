/**
 * Searches server bytes for things that must not be there: planted plaintext, names, keys. Every needle is looked
 * for as it is and as it would look in the encodings that software likes.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'

export interface Canary {
  /** What it is, for the report: `content key`, `amount of row 7`. */
  readonly name: string
  readonly bytes: Uint8Array
}

export interface Sighting {
  readonly canary: string
  readonly encoding: string
  /** File, or database key in hex. */
  readonly where: string
  readonly offset: number
}

interface Needle {
  readonly canary: string
  readonly encoding: string
  readonly bytes: Buffer
}

/** A canary shorter than this would be found by chance. */
export const canaryBytesMin = 6

/** A text as a canary. */
export function textCanary(name: string, text: string): Canary {
  return { name, bytes: new TextEncoder().encode(text) }
}

function needlesOf({ name, bytes }: Canary): Needle[] {
  if (bytes.length < canaryBytesMin) throw new RangeError(`${name}: a canary has at least ${canaryBytesMin} bytes`)
  const raw = Buffer.from(bytes)
  const reversed = Buffer.from(raw).reverse()
  const needles: [string, Buffer][] = [
    ['as it is', raw],
    ['reversed', reversed],
    ['hex', Buffer.from(raw.toString('hex'))],
    ['upper-case hex', Buffer.from(raw.toString('hex').toUpperCase())],
  ]
  // Base64 has three alignments; what is cut off at the ends depends on neighbours.
  for (const shift of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(shift), raw])
      .toString('base64')
      .replace(/=+$/, '')
    const body = text.slice(shift === 0 ? 0 : 4, Math.floor((raw.length + shift) / 3) * 4)
    if (body.length < 6) continue
    needles.push([`base64+${shift}`, Buffer.from(body)])
    needles.push([`base64url+${shift}`, Buffer.from(body.replaceAll('+', '-').replaceAll('/', '_'))])
  }
  if (/^[\x20-\x7e]+$/.test(raw.toString('latin1')))
    needles.push(['UTF-16', Buffer.from(raw.toString('latin1'), 'utf16le')])
  return needles.map(([encoding, needle]) => ({ canary: name, encoding, bytes: needle }))
}

/** A search for the same canaries in many places. */
export function createSearch(canaries: readonly Canary[]): (haystack: Uint8Array, where: string) => Sighting[] {
  const needles = canaries.flatMap(needlesOf)
  return (haystack, where) => {
    const buffer = Buffer.from(haystack.buffer, haystack.byteOffset, haystack.byteLength)
    return needles.flatMap(({ canary, encoding, bytes }) => {
      const offset = buffer.indexOf(bytes)
      return offset === -1 ? [] : [{ canary, encoding, where, offset }]
    })
  }
}

/** Looks through bytes. */
export function searchBytes(haystack: Uint8Array, where: string, canaries: readonly Canary[]): Sighting[] {
  return createSearch(canaries)(haystack, where)
}

/** Looks through every file below the folders. */
export async function searchFolders(
  folders: readonly string[],
  canaries: readonly Canary[],
): Promise<{ readonly sightings: Sighting[]; readonly files: number; readonly bytes: number }> {
  const sightings: Sighting[] = []
  let files = 0
  let bytes = 0
  for (const folder of folders) {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const path = join(entry.parentPath, entry.name)
      const content = await readIfThere(path)
      if (content === undefined) continue
      files++
      bytes += content.length
      sightings.push(...searchBytes(content, path, canaries))
    }
  }
  return { sightings, files, bytes }
}

/** Undefined for a file that a process removed since it was listed. */
async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Looks through a stopped node's database, record by record: what its files hold compressed or split shows here. */
export async function searchDatabase(directory: string, canaries: readonly Canary[]): Promise<Sighting[]> {
  const database = new ClassicLevel<Uint8Array, Uint8Array>(directory, { keyEncoding: 'view', valueEncoding: 'view' })
  const sightings: Sighting[] = []
  await database.open({ createIfMissing: false })
  try {
    for await (const [key, value] of database.iterator()) {
      const where = `${directory}: ${Buffer.from(key).toString('hex')}`
      sightings.push(...searchBytes(key, where, canaries), ...searchBytes(value, where, canaries))
    }
  } finally {
    await database.close()
  }
  return sightings
}
