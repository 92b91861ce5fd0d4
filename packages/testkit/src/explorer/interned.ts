/** Values by number: equal ones, compared by their canonical text, share one. */
export class Interned<T> {
  readonly #numbers = new Map<string, number>()
  readonly #values: T[] = []
  readonly #textOf: (value: T) => string

  constructor(textOf: (value: T) => string) {
    this.#textOf = textOf
  }

  get size(): number {
    return this.#values.length
  }

  number(value: T): number {
    const text = this.#textOf(value)
    const known = this.#numbers.get(text)
    if (known !== undefined) return known
    this.#numbers.set(text, this.#values.length)
    return this.#values.push(value) - 1
  }

  value(number: number): T {
    const value = this.#values[number]
    if (value === undefined) throw new RangeError(`Nothing has the number ${number}`)
    return value
  }
}
