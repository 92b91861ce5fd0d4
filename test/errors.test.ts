/**
 * docs/ERRORS.md lists every stable error code that the sources make, with its classes; every exit code, verdict and
 * audit finding; and nothing else. Codes are read off the syntax tree: where a code is made, its class is named beside
 * it; where it is only compared with, it must be one that somebody makes.
 */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CipherlogError } from '@cipherlog/core'
import { RejectedError } from '@cipherlog/client'
import { verdicts } from '@cipherlog/format'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { exitCodeOf, exitCodes } from '../packages/cli/src/exit-codes.ts'

const root = join(import.meta.dirname, '..')
const page = readFileSync(join(root, 'docs/ERRORS.md'), 'utf8')

/** Functions that make an error of their first argument, and what they make. */
const makers: Readonly<Record<string, string>> = {
  fail: 'DecodeError',
  refuse: 'RefusedError',
  invalid: 'VerificationError',
  // An audit notes what is wrong and goes on.
  problem: 'audit problem',
  '#problem': 'audit problem',
  // Counted, not thrown.
  onRefused: 'metric label',
}

/** Codes of Node.js that we compare with. */
const foreign = new Set(['ERR_MODULE_NOT_FOUND'])

/** `ERR_REJECTED_` and a verdict's name; those of an application's own machine are open. */
const rejections = Object.values(verdicts)
  .filter((verdict) => verdict !== verdicts.applied)
  .map((verdict) => new RejectedError(verdict, 'origin#1.0').code)

interface Findings {
  /** Classes by code. */
  readonly made: Map<string, Set<string>>
  /** Codes and prefixes (ending in `_`) that something is compared with, and where. */
  readonly compared: Map<string, string>
  /** Uses that this test cannot read. */
  readonly unclear: string[]
}

/** What one source makes of error codes. */
function collect(path: string, text: string, into: Findings): void {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const at = (node: ts.Node): string => `${path}:${tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1}`
  const visit = (node: ts.Node): void => {
    if (ts.isTemplateExpression(node) && /^ERR_/.test(node.head.text)) {
      if (node.head.text !== 'ERR_REJECTED_') into.unclear.push(`${at(node)}: a code built from ${node.head.text}…`)
      else for (const code of rejections) add(into.made, code, 'RejectedError')
    } else if (ts.isStringLiteralLike(node) && /^ERR_[A-Z0-9_]*$/.test(node.text)) {
      const maker = makerOf(node)
      if (maker === undefined) into.compared.set(node.text, at(node))
      else if (maker === '' || node.text.endsWith('_')) into.unclear.push(`${at(node)}: ${node.text}`)
      else add(into.made, node.text, maker)
    }
    ts.forEachChild(node, visit)
  }
  visit(tree)
}

/** The class of the error that `code` becomes here; undefined if it is only compared with or a type; '' if unknown. */
function makerOf(code: ts.StringLiteralLike): string | undefined {
  let value: ts.Expression = code
  while (ts.isConditionalExpression(value.parent) && value.parent.condition !== value) value = value.parent
  const { parent } = value
  if (ts.isNewExpression(parent)) return parent.expression.getText()
  if (ts.isCallExpression(parent)) {
    const { expression } = parent
    if (expression.kind === ts.SyntaxKind.SuperKeyword) return enclosingClass(parent)
    const name = ts.isPropertyAccessExpression(expression) ? expression.name.text : expression.getText()
    return name === 'startsWith' || name === 'has' || name === 'includes' ? undefined : (makers[name] ?? '')
  }
  // `constructor(message, code = 'ERR_…')`
  if (ts.isParameter(parent)) return enclosingClass(parent)
  // An error on its way over a wire or between threads.
  if (ts.isPropertyAssignment(parent) && parent.name.getText() === 'code') return 'CipherlogError'
  if (value !== code) return 'CipherlogError'
  if (ts.isVariableDeclaration(parent) || ts.isBinaryExpression(parent) || ts.isLiteralTypeNode(parent)) {
    return ts.isBinaryExpression(parent) && parent.operatorToken.kind === ts.SyntaxKind.PlusToken ? '' : undefined
  }
  if (ts.isArrayLiteralExpression(parent)) {
    // `[code, message]`: what packages/api makes of an error without a detail of ours. Else a list to compare with.
    const [first, second] = parent.elements
    const pair = parent.elements.length === 2 && first === value && second !== undefined
    return pair && ts.isStringLiteralLike(second) && !second.text.startsWith('ERR_') ? 'CipherlogError' : undefined
  }
  return ''
}

function enclosingClass(node: ts.Node): string {
  let outer: ts.Node = node
  while (!ts.isClassLike(outer)) outer = outer.parent
  return outer.name?.text ?? ''
}

function add(made: Map<string, Set<string>>, code: string, maker: string): void {
  made.set(code, (made.get(code) ?? new Set()).add(maker))
}

function collectAll(): Findings {
  const found: Findings = { made: new Map(), compared: new Map(), unclear: [] }
  for (const path of globSync('packages/*/{src,bin}/**/*.{ts,js}', { cwd: root }).toSorted()) {
    if (/\.(?:test|fixture|example)\.ts$|\/gen\//.test(path)) continue
    collect(path, readFileSync(join(root, path), 'utf8'), found)
  }
  return found
}

/** Rows of the tables whose first cell matches, as trimmed cells. */
function rowsOf(text: string, first: RegExp): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .filter(([cell]) => first.test(cell!))
}

function section(heading: string): string {
  const start = page.indexOf(`\n## ${heading}\n`)
  expect(start, `docs/ERRORS.md has no section "${heading}"`).toBeGreaterThan(-1)
  const end = page.indexOf('\n## ', start + 4)
  return page.slice(start, end === -1 ? undefined : end)
}

const classesOf = (made: Iterable<string>): string => [...made].toSorted().join(', ')

describe('docs/ERRORS.md', () => {
  const found = collectAll()
  const rows = rowsOf(page, /^`ERR_/).map(([code, classes, ...rest]) => ({
    code: code!.replaceAll('`', ''),
    classes: classesOf(classes!.replaceAll('`', '').split(', ')),
    rest,
  }))

  test('lists every code that the sources make, with every class it is made of, and no other', () => {
    const listed = new Map(rows.map(({ code, classes }) => [code, classes]))
    const report = [
      ...[...found.made]
        .filter(([code]) => !listed.has(code))
        .map(([code, classes]) => `add     | \`${code}\` | ${classesOf(classes)} | what it means | what to do |`),
      ...rows.filter(({ code }) => !found.made.has(code)).map(({ code }) => `remove  ${code}: no source makes it`),
      ...[...found.made]
        .filter(([code, classes]) => listed.has(code) && listed.get(code) !== classesOf(classes))
        .map(([code, classes]) => `change  ${code}: classes ${listed.get(code)} to ${classesOf(classes)}`),
      ...rows
        .filter(({ code }, i) => rows.findIndex((row) => row.code === code) !== i)
        .map(({ code }) => `twice   ${code}`),
      ...found.unclear.map((use) => `unclear ${use}: teach test/errors.test.ts what it makes`),
    ]
    if (report.length > 0) expect.fail(['docs/ERRORS.md is not what the sources say:', ...report.toSorted()].join('\n'))
    expect(found.made.size).toBeGreaterThan(150)
  })

  test('every code that something is compared with is one that somebody makes', () => {
    const codes = [...found.made.keys()]
    const unknown = [...found.compared].filter(
      ([code]) =>
        !foreign.has(code) && !codes.some((made) => made === code || (isPrefix(code) && made.startsWith(code))),
    )
    expect(unknown).toEqual([])
  })

  test('says in a sentence what each code means, and in one what to do', () => {
    const bad = rows.filter(({ rest }) => rest.length !== 2 || rest.some((cell) => !/^[A-Z`].{8,}[.]$/.test(cell)))
    expect(bad.map(({ code }) => code)).toEqual([])
  })

  test('groups the codes that make `cipherlog` end with 2, 3, 69, 70 and 78; all others end with 1', () => {
    const table = rowsOf(section('Exit codes of `cipherlog`'), /^\d+$/)
    const listed = new Map(
      table.map(([exit, , codes]) => [
        Number(exit),
        [...codes!.matchAll(/`(ERR_[A-Z0-9_]*[A-Z0-9])`/g)].map(([, code]) => code!),
      ]),
    )
    expect([...listed.keys()].toSorted((a, b) => a - b)).toEqual([...Object.values(exitCodes), 130])
    const report = [...found.made.keys()].flatMap((code) => {
      const exit = exitCodeOf(new CipherlogError(code, ''))
      if (exit === exitCodes.refused || exit === exitCodes.rejected) return []
      return listed.get(exit)!.includes(code) ? [] : [`add ${code} to ${exit}`]
    })
    for (const [exit, codes] of listed) {
      for (const code of codes) {
        const actual = found.made.has(code) ? exitCodeOf(new CipherlogError(code, '')) : undefined
        if (actual !== exit) report.push(`remove ${code} from ${exit}${actual ? `: it ends with ${actual}` : ''}`)
      }
    }
    expect(report).toEqual([])
    expect(rejections.map((code) => exitCodeOf(new CipherlogError(code, '')))).toEqual(rejections.map(() => 3))
  })

  test('lists the exit codes of `cipherlog-node`', () => {
    const main = readFileSync(join(root, 'packages/server/src/main.ts'), 'utf8')
    const own = [.../const exitCodes = \{([^}]*)\}/.exec(main)![1]!.matchAll(/: (\d+)/g)].map(([, exit]) =>
      Number(exit),
    )
    expect(own.length).toBeGreaterThan(1)
    const listed = rowsOf(section('Exit codes of `cipherlog-node`'), /^\d+$/).map(([exit]) => Number(exit))
    // 0 and 1 are those of Node.js and commander.
    expect(listed).toEqual([0, 1, ...own])
  })

  test('lists every verdict with its number, name and code', () => {
    const listed = rowsOf(section('Verdicts'), /^\d+$/).map((cells) => cells.slice(0, 3))
    expect(listed).toEqual(
      Object.entries(verdicts).map(([name, verdict]) => [
        String(verdict),
        `\`${name}\``,
        verdict === verdicts.applied ? '–' : `\`${new RejectedError(verdict, 'origin#1.0').code}\``,
      ]),
    )
  })

  test('lists every finding of an audit', () => {
    const path = 'packages/audit/src/report.ts'
    const tree = ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.Latest, true)
    const type = tree.statements.find((node) => ts.isTypeAliasDeclaration(node) && node.name.text === 'FindingCode')
    const codes = [...(type?.getText(tree) ?? '').matchAll(/\| '([^']+)'/g)].map(([, code]) => code!)
    expect(codes.length).toBeGreaterThan(5)
    const listed = rowsOf(section('Audit findings'), /^`[a-z]/).map(([code]) => code!.replaceAll('`', ''))
    expect(listed.toSorted()).toEqual(codes.toSorted())
  })
})

describe('the collector', () => {
  const read = (text: string): Findings => {
    const found: Findings = { made: new Map(), compared: new Map(), unclear: [] }
    collect('a.ts', text, found)
    return found
  }
  test.each([
    [`throw new PolicyError('ERR_A', 'x')`, 'PolicyError'],
    [`class E extends CipherlogError { constructor() { super('ERR_A', 'x') } }`, 'E'],
    [`class E extends CipherlogError { constructor(m: string, code = 'ERR_A') { super(code, m) } }`, 'E'],
    [`refuse(ok ? 'ERR_A' : 'ERR_B', 'x')`, 'RefusedError'],
    [`this.fail('ERR_A', 'x')`, 'DecodeError'],
    [`this.#problem('ERR_A', 'x')`, 'audit problem'],
    [`const x = [Code.Canceled, ['ERR_A', 'It was cancelled.']]`, 'CipherlogError'],
    [`create(Schema, { code: 'ERR_A' })`, 'CipherlogError'],
    [`const code = matches ? given : 'ERR_A'`, 'CipherlogError'],
  ])('finds what %s makes', (text, maker) => {
    expect(read(text).made.get('ERR_A')).toEqual(new Set([maker]))
  })
  test.each([
    `if (error.code === 'ERR_A') x()`,
    `const retry = ['ERR_A', 'ERR_B']`,
    `const table = [['ERR_A', Code.NotFound, CipherlogError]]`,
    `type Code = 'ERR_A' | 'ERR_B'`,
    `code.startsWith('ERR_A')`,
    `// throws ERR_A`,
  ])('makes nothing of %s', (text) => {
    expect(read(text)).toMatchObject({ made: new Map(), unclear: [] })
  })
  test.each([`throw new E(\`ERR_A_\${what}\`, 'x')`, `const code = 'ERR_A_' + what`, `explode('ERR_A', 'x')`])(
    'asks what %s makes',
    (text) => {
      expect(read(text).unclear).toHaveLength(1)
    },
  )
  test('expands rejections to one code for each verdict', () => {
    const { made } = read('super(`ERR_REJECTED_${name}`)')
    expect([...made.keys()]).toEqual(expect.arrayContaining(['ERR_REJECTED_NOT_AFTER', 'ERR_REJECTED_COMMAND']))
    expect(made.size).toBe(Object.keys(verdicts).length - 1)
  })
})

/** `ERR_POLICY_`, and `ERR_KEYRING`, which stands for a family too. */
function isPrefix(code: string): boolean {
  return code.endsWith('_') || code === 'ERR_KEYRING'
}
