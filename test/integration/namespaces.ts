/**
 * Network namespaces for nodes, on one bridge with this process, so that links can be cut as cables are: for real
 * sockets, without a word to either side. Needs root and iproute2; everything is removed again, whatever happens.
 *
 * One way to cut a direction: the sender gets a false hardware address for the other, and its packets are nobody's.
 */
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type NodeFiles } from '@cipherlog/cli/cluster'

/** Why there can be none here; undefined: there can. */
export function noNamespaces(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux'
  if (process.getuid?.() !== 0) return 'needs root'
  const probe = `cl${process.pid}probe`
  try {
    ip('netns', 'add', probe)
    ip('netns', 'delete', probe)
    return undefined
  } catch (error) {
    return `needs the right to make network namespaces: ${(error as Error).message}`
  }
}

function ip(...words: readonly string[]): void {
  const { status, stderr, error } = spawnSync('ip', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${error?.message ?? stderr.trim()}`)
}

/** Belongs to no interface. */
const nobodysAddress = '02:00:00:00:00:01'
/** What `cipherlog init` lets nodes listen on. */
const loopback = '127.0.0.1'

export class Namespaces {
  readonly #prefix = `cl${process.pid}`
  /** Of a block that is reserved for tests of networks (RFC 2544). */
  readonly #subnet = `198.18.${process.pid % 256}`
  readonly #nodes: readonly number[]
  readonly #cut = new Set<string>()

  private constructor(nodes: readonly number[]) {
    this.#nodes = nodes
  }

  /** One namespace for each node, all of which reach each other and this process. */
  static create(nodes: readonly number[]): Namespaces {
    const made = new Namespaces(nodes)
    try {
      made.#create()
    } catch (error) {
      made.remove()
      throw error
    }
    return made
  }

  #create(): void {
    const bridge = this.#prefix
    ip('link', 'add', bridge, 'type', 'bridge')
    ip('addr', 'add', `${this.#subnet}.254/24`, 'dev', bridge)
    ip('link', 'set', bridge, 'up')
    for (const node of this.#nodes) {
      const [name, port, inside] = [this.#name(node), `${this.#prefix}p${node}`, `${this.#prefix}n${node}`]
      ip('netns', 'add', name)
      ip('link', 'add', port, 'type', 'veth', 'peer', 'name', inside)
      ip('link', 'set', inside, 'netns', name)
      ip('link', 'set', port, 'master', bridge, 'up')
      ip('-n', name, 'addr', 'add', `${this.addressOf(node)}/24`, 'dev', inside)
      ip('-n', name, 'link', 'set', inside, 'up')
      ip('-n', name, 'link', 'set', 'lo', 'up')
    }
  }

  #name(node: number): string {
    return `${this.#prefix}-${node}`
  }

  addressOf(node: number): string {
    return `${this.#subnet}.${node}`
  }

  /** Starts a node in its namespace. */
  readonly startWith = ({ number }: NodeFiles): readonly string[] => ['ip', 'netns', 'exec', this.#name(number)]

  /** Gives the nodes of a new cluster, and those who call them, the addresses of their namespaces. */
  async prepare(nodes: readonly NodeFiles[]): Promise<void> {
    const texts = await Promise.all(nodes.map(({ configFile }) => readFile(configFile, 'utf8')))
    // Each port belongs to one node, whoever names it.
    const nodeOfPort = new Map<string, number>()
    texts.forEach((text, at) => {
      const listen = text.slice(text.indexOf('[listen]'))
      for (const [, port] of listen.slice(0, listen.indexOf('[[')).matchAll(/127\.0\.0\.1:(\d+)/g)) {
        nodeOfPort.set(port!, nodes[at]!.number)
      }
    })
    const moved = (text: string): string =>
      text.replaceAll(/127\.0\.0\.1:(\d+)/g, (address, port: string) => {
        const node = nodeOfPort.get(port)
        return node === undefined ? address : `${this.addressOf(node)}:${port}`
      })
    await Promise.all(nodes.map(({ configFile }, at) => writeFile(configFile, moved(texts[at]!))))
    const profile = join(nodes[0]!.directory, '..', '..', 'cipherlog.toml')
    await writeFile(profile, moved(await readFile(profile, 'utf8')))
    if ((await readFile(profile, 'utf8')).includes(loopback)) throw new Error('an address was not moved')
  }

  /** Nothing that `from` sends reaches `to` any more; what `to` sends still arrives. */
  cutOneWay(from: number, to: number): void {
    const words = [this.addressOf(to), 'dev', `${this.#prefix}n${from}`]
    ip('-n', this.#name(from), 'neigh', 'replace', ...words, 'lladdr', nobodysAddress, 'nud', 'permanent')
    this.#cut.add(`${from} ${to}`)
  }

  /** Nothing passes between the two sides; this process still reaches both. */
  part(some: readonly number[], others: readonly number[]): void {
    for (const a of some) {
      for (const b of others) {
        this.cutOneWay(a, b)
        this.cutOneWay(b, a)
      }
    }
  }

  /** Pulls or plugs in the cable of a node: nobody reaches it, this process neither. */
  setLink(node: number, state: 'up' | 'down'): void {
    ip('link', 'set', `${this.#prefix}p${node}`, state)
  }

  /** All links work again. */
  heal(): void {
    for (const pair of this.#cut) {
      const [from, to] = pair.split(' ').map(Number) as [number, number]
      ip('-n', this.#name(from), 'neigh', 'delete', this.addressOf(to), 'dev', `${this.#prefix}n${from}`)
    }
    this.#cut.clear()
    for (const node of this.#nodes) this.setLink(node, 'up')
  }

  /** Once the nodes have ended. */
  remove(): void {
    const problems: unknown[] = []
    // Each by itself: what was never made does not keep the rest from going.
    const steps = [
      ...this.#nodes.map((node) => ['netns', 'delete', this.#name(node)]),
      ...this.#nodes.map((node) => ['link', 'delete', `${this.#prefix}p${node}`]),
      ['link', 'delete', this.#prefix],
    ]
    for (const words of steps) {
      const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' })
      if (status !== 0 && !/No such|Cannot find/.test(stderr)) problems.push(`ip ${words.join(' ')}: ${stderr.trim()}`)
    }
    if (problems.length > 0) throw new Error(problems.join('\n'))
  }
}
