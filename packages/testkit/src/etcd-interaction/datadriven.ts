/**
 * The file format of scenarios (github.com/cockroachdb/datadriven): a command with arguments, perhaps lines of input,
 * a line `----`, the expected output, an empty line. Lines that begin with `#` are comments.
 */

/** `key`, `key=value` or `key=(value, value)`. */
export interface Argument {
  readonly key: string
  readonly values: readonly string[]
}

export interface Command {
  readonly name: string
  readonly args: readonly Argument[]
}

export interface Directive extends Command {
  /** Line of the command, from 1. */
  readonly line: number
  /** The lines between the command and `----`. */
  readonly input: string
  /** What it is expected to say, with a line feed after each line. */
  readonly expected: string
}

/** @throws {@link SyntaxError} naming the line. */
export function parseScenario(text: string): Directive[] {
  const lines = text.split('\n')
  const directives: Directive[] = []
  for (let at = 0; at < lines.length; at++) {
    const start = lines[at]!.trim()
    if (start === '' || start.startsWith('#')) continue
    const line = at + 1
    const input: string[] = []
    for (at++; lines[at] !== '----'; at++) {
      if (at >= lines.length) throw new SyntaxError(`Line ${line}: no line of four hyphens follows the command`)
      input.push(lines[at]!)
    }
    // A second separator lets the output hold empty lines, up to two more.
    const doubled = lines[at + 1] === '----'
    if (doubled) at++
    const expected: string[] = []
    for (at++; at < lines.length; at++) {
      if (doubled ? lines[at] === '----' && lines[at + 1] === '----' : lines[at] === '') break
      expected.push(`${lines[at]!}\n`)
    }
    if (doubled) at++
    directives.push({ ...parseCommand(start), line, input: input.join('\n'), expected: expected.join('') })
  }
  return directives
}

/** @throws {@link SyntaxError} */
export function parseCommand(line: string): Command {
  const tokens = line.match(/[^\s=]+=\([^)]*\)|[^\s]+/g) ?? []
  const [name, ...args] = tokens
  if (name === undefined) throw new SyntaxError('An empty line is no command')
  return { name, args: args.map(parseArgument) }
}

function parseArgument(token: string): Argument {
  const [, key = token, value] = /^([^=]+)=(.*)$/s.exec(token) ?? []
  if (value === undefined) return { key, values: [] }
  const list = value.startsWith('(') && value.endsWith(')') ? value.slice(1, -1) : value
  return { key, values: list.split(/[\s,]+/).filter((part) => part !== '') }
}
