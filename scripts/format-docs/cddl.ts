/** CDDL (RFC 8610) of codecs. Every rule that a page needs stands on the page, so that each is complete by itself. */
import { type Codec } from '@cipherlog/core'
import { entryOf, isCompound } from '../../test/conformance/formats/catalog.ts'
import { type DocComments } from './doc-comments.ts'

const safeUint = 'safe-uint'

/** `commandBundle` -> `command-bundle`. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** The CDDL name of a codec; undefined for one that is written out where it is used. */
export function ruleNameOf(codec: Codec<unknown>): string | undefined {
  if (codec.name !== undefined) return codec.name
  const entry = entryOf(codec)
  return entry === undefined ? undefined : kebab(entry.exportName)
}

/** Integers and strings without a pattern are short enough to be written out everywhere. */
function hasOwnRule(codec: Codec<unknown>): boolean {
  const patterned = codec.shape.kind === 'text' && codec.shape.pattern !== undefined
  return (isCompound(codec) || patterned) && ruleNameOf(codec) !== undefined
}

function range(min: number, max: number): string {
  return min === max ? `${min}` : `${min}..${max}`
}

/** An ECMAScript pattern, anchored at both ends, as the XSD pattern that CDDL wants (anchored by definition). */
function regexp(pattern: RegExp): string {
  const { source } = pattern
  if (!source.startsWith('^') || !source.endsWith('$')) throw new Error(`not anchored: ${pattern}`)
  const body = source.slice(1, -1).replaceAll('\\/', '/').replaceAll('\\', '\\\\')
  return `"${body}"`
}

function sizeControl(type: 'bstr' | 'tstr', min: number, max: number): string {
  return min === max ? `${type} .size ${min}` : `${type} .size (${range(min, max)})`
}

interface Rule {
  readonly name: string
  readonly codec: Codec<unknown>
}

/** Comments on fields from whichever file declares them. */
type FieldComments = (path: string) => string | undefined

class CddlWriter {
  readonly #pending: Rule[] = []
  readonly #known = new Map<string, Codec<unknown>>()
  readonly #commentOf: FieldComments
  usesSafeUint = false

  constructor(commentOf: FieldComments) {
    this.#commentOf = commentOf
  }

  /** Queues the rule of `codec` once and returns its name. */
  rule(codec: Codec<unknown>): string {
    const name = ruleNameOf(codec)
    if (name === undefined) throw new Error('a rule needs a name')
    const known = this.#known.get(name)
    if (known === undefined) {
      this.#known.set(name, codec)
      this.#pending.push({ name, codec })
    } else if (known !== codec) {
      throw new Error(`two codecs are called ${name} in the CDDL: give one of them another name`)
    }
    return name
  }

  next(): string | undefined {
    const rule = this.#pending.shift()
    return rule === undefined ? undefined : `${rule.name} = ${this.#body(rule)}`
  }

  #reference(codec: Codec<unknown>): string {
    return hasOwnRule(codec) ? this.rule(codec) : this.#type(codec)
  }

  #body({ name, codec }: Rule): string {
    const { shape } = codec
    if (shape.kind === 'record') {
      const lines = shape.fields.map((field) => {
        const comment = this.#commentOf(`${name}.${field.name}`)
        const remark = comment === undefined ? field.name : `${field.name}: ${comment.replaceAll(/\s+/g, ' ')}`
        return [`  ${field.optional ? '? ' : ''}${field.key} => ${this.#reference(field.codec)},`, remark] as const
      })
      const width = Math.min(60, Math.max(...lines.map(([line]) => line.length)))
      return `{\n${lines.map(([line, remark]) => `${line.padEnd(width)} ; ${remark}`).join('\n')}\n}`
    }
    if (shape.kind === 'choice') {
      return shape.cases
        .map(({ tag, name: caseName, codec: chosen }) => `[${tag}, ${this.#reference(chosen)}] ; ${caseName}`)
        .join('\n  / ')
    }
    return this.#type(codec)
  }

  #type({ shape }: Codec<unknown>): string {
    switch (shape.kind) {
      case 'uint':
        if (shape.min === 0 && shape.max === Number.MAX_SAFE_INTEGER) {
          this.usesSafeUint = true
          return safeUint
        }
        return range(shape.min, shape.max)
      case 'bytes':
        return sizeControl('bstr', shape.min, shape.max)
      case 'text': {
        const size = sizeControl('tstr', 0, shape.max)
        return shape.pattern === undefined ? size : `(${size}) .and (tstr .regexp ${regexp(shape.pattern)})`
      }
      case 'boolean':
        return 'bool'
      case 'constant':
        return `${shape.value}`
      case 'enumeration':
        return `&(${Object.entries(shape.values)
          .map(([name, value]) => `${kebab(name)}: ${value}`)
          .join(', ')})`
      case 'array': {
        const occurrence = shape.min === shape.max ? `${shape.min}*${shape.max}` : `${shape.min}*${shape.max}`
        return `[${occurrence} ${this.#reference(shape.item)}]`
      }
      case 'tuple':
        return `[${shape.items.map((item) => this.#reference(item)).join(', ')}]`
      case 'record':
      case 'choice':
        throw new Error('records and choices have names in packages/format')
    }
  }
}

/** The CDDL of `codecs` and of everything they refer to. */
export function cddlOf(codecs: readonly Codec<unknown>[], comments: readonly DocComments[]): string {
  const writer = new CddlWriter((path) =>
    comments.map(({ fields }) => fields.get(path)).find((text) => text !== undefined),
  )
  for (const codec of codecs) writer.rule(codec)
  const rules: string[] = []
  for (let rule = writer.next(); rule !== undefined; rule = writer.next()) rules.push(rule)
  if (writer.usesSafeUint) rules.push(`${safeUint} = 0..${Number.MAX_SAFE_INTEGER}`)
  return rules.join('\n\n')
}
