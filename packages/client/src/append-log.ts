/** `log`: sealed records in order. They are read with `watch`. */
import { encodeContent, type Value } from './content.ts'
import { type Done, type Writer } from './writer.ts'

export class AppendLog {
  readonly namespace: string
  readonly #writer: Writer

  constructor(namespace: string, writer: Writer) {
    this.namespace = namespace
    this.#writer = writer
  }

  /** Seals a record; throws as `Kv.put`. */
  async append(value: Value): Promise<Done> {
    const content = encodeContent('', value)
    return this.#writer.writeContent({ namespace: this.namespace, machine: 'log', op: 'append' }, content)
  }
}
