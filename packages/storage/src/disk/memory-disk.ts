/**
 * A {@link Disk} in memory that crashes like a real one: what was not synced is kept, lost or torn at random.
 *
 * Model: every file has its durable bytes and a list of writes since its last sync; every directory its durable names
 * and a list of changes since its last sync. At a crash each write of a file survives, is lost, or leaves random
 * pieces of itself (what it did not leave reads as before, or as zeros past the old end), independently of the
 * others; the changes of a directory survive up to a random point, in order, as in a journalled file system.
 * A failed write leaves half of its bytes; after a failed sync the changes stay visible, and no later sync makes
 * them durable, as on Linux.
 */
import { type DirectoryEntry, type Disk, type DiskFile, parentOf } from './disk.ts'

type FileChange =
  { readonly type: 'write'; readonly position: number; readonly bytes: Uint8Array } | { type: 'truncate'; size: number }
type NameChange = { readonly type: 'link'; name: string; node: Node } | { readonly type: 'unlink'; name: string }
type Node = FileNode | DirectoryNode

/** The bytes of a file in memory that grows by doubling. */
class Content {
  #buffer: Uint8Array
  #length: number

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.#buffer = bytes
    this.#length = bytes.length
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  replace(bytes: Uint8Array): void {
    this.#buffer = bytes.slice()
    this.#length = bytes.length
  }

  apply(change: FileChange): void {
    const { type } = change
    const size = type === 'truncate' ? change.size : Math.max(this.#length, change.position + change.bytes.length)
    if (size > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(size, 2 * this.#buffer.length))
      grown.set(this.bytes)
      this.#buffer = grown
    }
    // What lies behind the end must read as zeros once the file grows again.
    if (size < this.#length) this.#buffer.fill(0, size, this.#length)
    this.#length = size
    if (type === 'write') this.#buffer.set(change.bytes, change.position)
  }
}

class FileNode {
  readonly live: Content
  readonly durable: Content
  changes: FileChange[] = []

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.live = new Content(bytes.slice())
    this.durable = new Content(bytes.slice())
  }

  sync(): void {
    for (const change of this.changes) this.durable.apply(change)
    this.changes = []
  }
}

class DirectoryNode {
  names = new Map<string, Node>()
  durable = new Map<string, Node>()
  /** A rename is one step of two changes. */
  changes: NameChange[][] = []
}

/** What a fault hook is told before an operation that changes the disk. */
export interface DiskOperation {
  readonly kind: 'create' | 'write' | 'truncate' | 'datasync' | 'directory' | 'rename' | 'remove' | 'syncDirectory'
  readonly path: string
}

/**
 * `fail`: throws EIO. `full`: throws ENOSPC; a write leaves half of its bytes, as a real one does. `crash`: throws, and
 * nothing works until `restart`, which shows how far the operation came.
 */
export type DiskFault = 'fail' | 'full' | 'crash' | undefined

/** A disk in memory with faults on demand. */
export interface MemoryDisk extends Disk {
  /** Asked before every operation that changes the disk. */
  fault: (operation: DiskOperation) => DiskFault
  /** Loses power: every operation fails until {@link MemoryDisk.restart}. */
  crash(): void
  /**
   * Power again.
   * @param unsynced - what of the changes since the last sync survived: none, all, or what a source of numbers
   * uniform in [0, 1) decides for each.
   */
  restart(unsynced: 'lost' | 'kept' | (() => number)): void
  /** Paths of all files, sorted. */
  paths(): string[]
  /** Overwrites a file as a damaged disk would: durable at once, without a sound. */
  damage(path: string, change: (bytes: Uint8Array) => Uint8Array): void
}

class DiskError extends Error {
  readonly code: string
  constructor(code: string, path: string) {
    super(`${code}: ${path}`)
    this.code = code
  }
}

/** An empty disk in memory. */
export function createMemoryDisk(): MemoryDisk {
  let root = new DirectoryNode()
  let crashed = false

  function lookup(path: string): Node | undefined {
    let node: Node | undefined = root
    for (const name of path === '' ? [] : path.split('/')) {
      node = node instanceof DirectoryNode ? node.names.get(name) : undefined
    }
    return node
  }
  function directory(path: string): DirectoryNode {
    const node = lookup(path)
    if (!(node instanceof DirectoryNode)) throw new DiskError('ENOENT', path)
    return node
  }
  /** Runs `effect`, unless a fault puts `faulty` in its place. */
  function change(
    kind: DiskOperation['kind'],
    path: string,
    effect: () => void,
    faulty: (fault: 'fail' | 'full' | 'crash') => void = (fault) => {
      if (fault === 'crash') effect()
    },
  ): void {
    alive(path)
    const fault = disk.fault({ kind, path })
    if (fault === undefined) {
      effect()
      return
    }
    faulty(fault)
    crashed = fault === 'crash'
    throw new DiskError(crashed ? 'ECRASH' : fault === 'full' ? 'ENOSPC' : 'EIO', path)
  }
  function alive(path: string): void {
    if (crashed) throw new DiskError('ECRASH', path)
  }
  function setNames(path: string, ...changes: NameChange[]): void {
    const parent = directory(parentOf(path))
    applyNames(parent.names, changes)
    parent.changes.push(changes)
  }

  const disk: MemoryDisk = {
    fault: () => undefined,
    async open(path, { durable = false, readOnly = false } = {}) {
      alive(path)
      let node = lookup(path)
      if (node === undefined) {
        if (readOnly) throw new DiskError('ENOENT', path)
        node = new FileNode()
        const created = node
        change('create', path, () => setNames(path, { type: 'link', name: baseName(path), node: created }))
      }
      if (!(node instanceof FileNode)) throw new DiskError('EISDIR', path)
      return openFile(node, path, durable, change, alive)
    },
    async readFile(path) {
      alive(path)
      const node = lookup(path)
      return node instanceof FileNode ? node.live.bytes.slice() : undefined
    },
    async list(path) {
      alive(path)
      const node = lookup(path)
      if (!(node instanceof DirectoryNode)) return []
      return [...node.names].map(([name, child]): DirectoryEntry => ({
        name,
        isDirectory: child instanceof DirectoryNode,
      }))
    },
    async makeDirectory(path) {
      alive(path)
      if (lookup(path) instanceof DirectoryNode) return
      change('directory', path, () => setNames(path, { type: 'link', name: baseName(path), node: new DirectoryNode() }))
    },
    async rename(from, to) {
      const node = lookup(from)
      if (node === undefined) throw new DiskError('ENOENT', from)
      change('rename', to, () =>
        setNames(to, { type: 'unlink', name: baseName(from) }, { type: 'link', name: baseName(to), node }),
      )
    },
    async remove(path) {
      alive(path)
      if (lookup(path) === undefined) return
      change('remove', path, () => setNames(path, { type: 'unlink', name: baseName(path) }))
    },
    async removeDirectory(path) {
      alive(path)
      const node = lookup(path)
      if (node === undefined) return
      if (!(node instanceof DirectoryNode) || node.names.size > 0) throw new DiskError('ENOTEMPTY', path)
      change('remove', path, () => setNames(path, { type: 'unlink', name: baseName(path) }))
    },
    async syncDirectory(path) {
      const node = directory(path)
      const nothing = () => {}
      change('syncDirectory', path, () => syncNames(node), nothing)
    },
    crash() {
      crashed = true
    },
    restart(unsynced) {
      root = survivor(root, typeof unsynced === 'function' ? randomFate(unsynced) : fates[unsynced])
      crashed = false
    },
    paths() {
      const out: string[] = []
      const walk = (node: DirectoryNode, prefix: string) => {
        for (const [name, child] of node.names) {
          if (child instanceof DirectoryNode) walk(child, `${prefix}${name}/`)
          else out.push(prefix + name)
        }
      }
      walk(root, '')
      return out.sort()
    },
    damage(path, edit) {
      const node = lookup(path)
      if (!(node instanceof FileNode)) throw new DiskError('ENOENT', path)
      const damaged = edit(node.live.bytes.slice())
      node.live.replace(damaged)
      node.durable.replace(damaged)
      node.changes = []
    },
  }
  return disk
}

function openFile(
  node: FileNode,
  path: string,
  durable: boolean,
  change: (
    kind: DiskOperation['kind'],
    path: string,
    effect: () => void,
    faulty?: (fault: 'fail' | 'full' | 'crash') => void,
  ) => void,
  alive: (path: string) => void,
): DiskFile {
  const apply = (fileChange: FileChange) => {
    node.live.apply(fileChange)
    node.changes.push(fileChange)
  }
  return {
    async size() {
      alive(path)
      return node.live.bytes.length
    },
    async read(position, length) {
      alive(path)
      return node.live.bytes.slice(position, position + length)
    },
    async write(bytes, position) {
      const whole = { type: 'write', position, bytes: bytes.slice() } as const
      const half = { ...whole, bytes: whole.bytes.subarray(0, bytes.length >> 1) }
      change(
        'write',
        path,
        () => {
          apply(whole)
          if (durable) node.sync()
        },
        (fault) => {
          if (fault === 'crash') apply(whole)
          else if (durable) node.live.apply(half)
          else apply(half)
        },
      )
    },
    async truncate(size) {
      change('truncate', path, () => apply({ type: 'truncate', size }))
    },
    async datasync() {
      change(
        'datasync',
        path,
        () => node.sync(),
        (fault) => {
          if (fault !== 'crash') node.changes = []
        },
      )
    },
    async close() {},
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function applyNames(names: Map<string, Node>, changes: readonly NameChange[]): void {
  for (const change of changes) {
    if (change.type === 'link') names.set(change.name, change.node)
    else names.delete(change.name)
  }
}

function syncNames(node: DirectoryNode): void {
  node.durable = new Map(node.names)
  node.changes = []
}

/** What a crash leaves of unsynced changes. */
interface Fate {
  /** How many of a directory's changes, of which the first ones survive. */
  names(count: number): number
  truncation(): boolean
  /** The pieces of a write that survive, as [start, end), ascending. */
  pieces(length: number): readonly (readonly [number, number])[]
}

const fates: Readonly<Record<'lost' | 'kept', Fate>> = {
  lost: { names: () => 0, truncation: () => false, pieces: () => [] },
  kept: { names: (count) => count, truncation: () => true, pieces: (length) => [[0, length]] },
}

function randomFate(random: () => number): Fate {
  return {
    names: (count) => Math.floor(random() * (count + 1)),
    truncation: () => random() >= 1 / 3,
    pieces(length) {
      const fate = random()
      if (fate < 1 / 3) return []
      if (fate < 2 / 3) return [[0, length]]
      const out: [number, number][] = []
      for (let at = 0; at < length;) {
        const end = Math.min(length, at + 1 + Math.floor(random() * 64))
        if (random() < 0.5) out.push([at, end])
        at = end
      }
      return out
    },
  }
}

/** What a tree looks like after a crash; every part of it is durable. */
function survivor(directory: DirectoryNode, fate: Fate, seen = new Map<Node, Node>()): DirectoryNode {
  const out = new DirectoryNode()
  seen.set(directory, out)
  const names = new Map(directory.durable)
  const kept = fate.names(directory.changes.length)
  for (const changes of directory.changes.slice(0, kept)) applyNames(names, changes)
  for (const [name, node] of names) {
    const known = seen.get(node)
    if (known !== undefined) {
      out.names.set(name, known)
    } else if (node instanceof DirectoryNode) {
      out.names.set(name, survivor(node, fate, seen))
    } else {
      const file = new FileNode(survivingBytes(node, fate))
      seen.set(node, file)
      out.names.set(name, file)
    }
  }
  out.durable = new Map(out.names)
  return out
}

function survivingBytes(file: FileNode, fate: Fate): Uint8Array {
  const content = new Content(file.durable.bytes.slice())
  for (const change of file.changes) {
    if (change.type === 'truncate') {
      if (fate.truncation()) content.apply(change)
      continue
    }
    for (const [start, end] of fate.pieces(change.bytes.length)) {
      content.apply({ type: 'write', position: change.position + start, bytes: change.bytes.subarray(start, end) })
    }
  }
  return content.bytes
}
