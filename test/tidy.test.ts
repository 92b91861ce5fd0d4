/**
 * The repository reads itself: imports flow one way, and files look the way this project writes them.
 *
 * "The server cannot decrypt" rests on the import table below. All violations are reported at once; each rule is
 * shown to find what it forbids, so that a green run means something.
 */
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

/** A package, or a subpath and everything below it; only its types (`import type`), or only by `import()`. */
type Arrow = string | { readonly types: string } | { readonly dynamic: string }

/** Which package's sources may import which. Tests may import anything; `any` marks what nothing else imports. */
const arrows: Readonly<Record<string, readonly Arrow[] | 'any'>> = {
  core: [],
  crypto: ['core'],
  raft: ['core'],
  api: ['core'],
  format: ['core', 'crypto/hash', { types: 'raft' }],
  merkle: ['core', 'crypto/hash', 'crypto/signature', 'format'],
  registry: ['core', 'crypto/hash', 'crypto/signature', 'crypto/evaluate/elgamal', 'format', 'merkle/verify'],
  proof: ['core', 'crypto/hash', 'crypto/evaluate/elgamal', 'format'],
  prover: ['core', 'crypto/hash', 'crypto/seal', 'proof', 'format'],
  machine: [
    ...['core', 'crypto/hash', 'crypto/signature', 'crypto/evaluate', 'format', 'proof'],
    ...['merkle/verify', 'merkle/tree', 'registry'],
  ],
  storage: ['core', 'format', 'merkle/verify', 'merkle/tree', { types: 'raft' }],
  audit: [
    ...['core', 'crypto/hash', 'crypto/signature', 'crypto/evaluate', 'format', 'merkle', 'registry'],
    ...['proof', 'machine'],
  ],
  client: [
    // Tiles, for consistency proofs from a checkpoint seen to the next.
    ...['core', 'crypto', 'format', 'merkle/verify', 'merkle/tree', 'registry', 'api'],
    ...[{ types: 'proof' }, { dynamic: 'prover' }],
  ],
  server: [
    ...['core', 'crypto/hash', 'crypto/signature', 'crypto/evaluate', 'format', 'merkle', 'registry'],
    ...['raft', 'proof', 'machine', 'storage', 'api'],
  ],
  cli: 'any',
  dashboard: 'any',
  testkit: 'any',
}

/** Libraries with one home: a second instance, a licence or a decryptor elsewhere would break a promise. */
const homes: Readonly<Record<string, string>> = {
  'mcl-wasm': 'packages/proof/',
  snarkjs: 'packages/prover/',
  'node-seal': 'packages/crypto/',
  merkletreejs: 'packages/merkle/src/batch/',
}

/** No I/O and nothing of Node: these run in browsers or in the simulator. */
const pure = [
  ...['packages/core/', 'packages/raft/', 'packages/registry/', 'packages/merkle/src/verify/'],
  ...['packages/merkle/src/tree/', 'packages/server/src/pipeline/'],
]

const linesMax = 800
/** The Raft step function is read in one sitting. */
const longFiles = ['packages/raft/src/raft.ts']

// Written in halves, because this file is checked too.
const forbiddenWords = ['TO|DO', 'FIX|ME', '@ts-|ignore', '@ts-|nocheck', 'eslint-|disable'].map((word) =>
  word.replace('|', ''),
)
const focused = /\b(?:describe|test|it|suite|bench)(?:\.\w+)*\.(?:only|skip|todo)\b/

interface Source {
  /** From the repository's root, with slashes. */
  readonly path: string
  readonly text: string
  readonly tree: ts.SourceFile
}

interface Violation {
  /** File, and line where there is one. */
  readonly at: string
  readonly says: string
}

interface Import {
  readonly from: string
  readonly kind: 'value' | 'types' | 'dynamic'
  readonly line: number
}

type Rule = (source: Source) => Violation[]

const rules: Readonly<Record<string, Rule>> = {
  'imports flow along the table': (source) => {
    const own = packageOf(source)
    if (own === undefined || isTest(source)) return []
    const allowed = arrows[own]
    if (allowed === undefined) return [{ at: source.path, says: `package ${own} is not in the import table` }]
    return importsOf(source).flatMap(({ from, kind, line }) => {
      const target = /^@cipherlog\/(.*)$/.exec(from)?.[1]
      if (target === undefined || allowed === 'any') return []
      const arrow = allowed.find((to) => covers(to, target))
      const at = `${source.path}:${line}`
      if (arrow === undefined) return [{ at, says: `${own} may not import ${from}` }]
      if (typeof arrow === 'string' || kind === 'types') return []
      if ('types' in arrow) return [{ at, says: `${own} may import only types of ${from}, written \`import type\`` }]
      return kind === 'dynamic' ? [] : [{ at, says: `${own} may import ${from} only by import()` }]
    })
  },

  'no import leaves its package by a relative path': (source) => {
    const own = packageOf(source)
    if (own === undefined) return []
    return importsOf(source).flatMap(({ from, line }) => {
      if (!from.startsWith('.')) return []
      const target = join(dirname(source.path), from).replaceAll('\\', '/')
      return target.startsWith(`packages/${own}/`)
        ? []
        : [{ at: `${source.path}:${line}`, says: `${from} is outside the package; import it by its name` }]
    })
  },

  'fixtures stay with tests': (source) => {
    if (isTest(source)) return []
    return importsOf(source)
      .filter(({ from }) => /\.(?:fixture|example)\.ts$/.test(from))
      .map(({ from, line }) => ({ at: `${source.path}:${line}`, says: `${from} is for tests only` }))
  },

  'libraries stay at home': (source) => {
    if (packageOf(source) === undefined) return []
    return importsOf(source).flatMap(({ from, line }) => {
      const home = homes[libraryOf(from) ?? '']
      return home === undefined || source.path.startsWith(home)
        ? []
        : [{ at: `${source.path}:${line}`, says: `${from} may be imported only under ${home}` }]
    })
  },

  'pure code does no I/O': (source) => {
    if (isTest(source) || !pure.some((folder) => source.path.startsWith(folder))) return []
    return importsOf(source)
      .filter(({ from }) => from.startsWith('node:'))
      .map(({ from, line }) => ({ at: `${source.path}:${line}`, says: `${from} has no place in pure code` }))
  },

  'file names are kebab-case': ({ path }) => {
    const bad = path.split('/').find((part) => !/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+)*$/.test(part))
    return bad === undefined ? [] : [{ at: path, says: `${bad} is not kebab-case` }]
  },

  'sources open with what they are': (source) => {
    if (packageOf(source) === undefined || isTest(source)) return []
    const opening = source.text.replace(/^(?:#!.*\n|\/\/ SPDX-License-Identifier: .*\n)+/, '').trimStart()
    return opening.startsWith('/**') ? [] : [{ at: `${source.path}:1`, says: 'has no opening doc comment' }]
  },

  'exports are listed by hand': (source) => {
    if (packageOf(source) === undefined || packageOf(source) === 'core') return []
    return source.tree.statements
      .filter((node) => ts.isExportDeclaration(node) && node.exportClause === undefined)
      .map((node) => ({ at: `${source.path}:${lineOf(source, node)}`, says: 'list the exported names' }))
  },

  'nothing is left for later or switched off': (source) =>
    source.text.split('\n').flatMap((line, i) => {
      const word = forbiddenWords.find((word) => line.includes(word)) ?? focused.exec(line)?.[0]
      return word === undefined ? [] : [{ at: `${source.path}:${i + 1}`, says: `${word} is not allowed here` }]
    }),

  'nothing is cast to any': (source) => {
    const found: Violation[] = []
    visit(source.tree, (node) => {
      const cast = ts.isAsExpression(node) || ts.isTypeAssertionExpression(node)
      if (cast && node.type.kind === ts.SyntaxKind.AnyKeyword) {
        found.push({ at: `${source.path}:${lineOf(source, node.type)}`, says: 'say what it is, or unknown' })
      }
    })
    return found
  },

  'files can be read in one sitting': ({ path, text }) => {
    const lines = text.split('\n').length - 1
    return lines <= linesMax || longFiles.includes(path)
      ? []
      : [{ at: path, says: `${lines} lines, at most ${linesMax}` }]
  },
}

describe('tidy', () => {
  test('every package and source keeps the rules', () => {
    const sources = globSync('{packages/*/{src,bin},test,scripts,examples,circuits}/**/*.ts', { cwd: root })
      .map((path) => path.replaceAll('\\', '/'))
      .filter((path) => !/(?:^|\/)(?:node_modules|gen|dist|artifacts)\//.test(path))
      .toSorted()
      .map((path) => sourceOf(path, readFileSync(join(root, path), 'utf8')))
    expect(sources.length).toBeGreaterThan(20)

    const report: string[] = []
    const add = (rule: string, found: readonly Violation[]) => {
      if (found.length > 0) report.push(`${rule}:`, ...found.map(({ at, says }) => `  ${at}  ${says}`), '')
    }
    for (const [name, rule] of Object.entries(rules)) add(name, sources.flatMap(rule))
    add('tests stand beside sources', testsWithoutSources(sources))
    add('packages are complete', readdirSync(join(root, 'packages')).flatMap(incompletePackage))
    add('libraries are declared', undeclaredLibraries(sources))
    add('docs/TESTING.md names what exists', brokenLinks('docs/TESTING.md'))
    if (report.length > 0) expect.fail(['the repository is not tidy.', '', ...report].join('\n'))
  })

  // What each rule must find, and what it must let pass.
  const bad: [keyof typeof rules, string, string][] = [
    ['imports flow along the table', 'packages/core/src/a.ts', `import { x } from '@cipherlog/raft'`],
    ['imports flow along the table', 'packages/merkle/src/a.ts', `import { x } from '@cipherlog/crypto/seal'`],
    ['imports flow along the table', 'packages/server/src/a.ts', `export { x } from '@cipherlog/crypto/seal/open'`],
    ['imports flow along the table', 'packages/server/src/a.ts', `const x = await import('@cipherlog/client')`],
    ['imports flow along the table', 'packages/server/src/a.ts', `const x = require('@cipherlog/crypto')`],
    ['imports flow along the table', 'packages/server/src/a.ts', `type X = import('@cipherlog/client').X`],
    ['imports flow along the table', 'packages/registry/src/a.ts', `import '@cipherlog/merkle/tree'`],
    ['imports flow along the table', 'packages/client/src/a.ts', `import '@cipherlog/merkle/batch'`],
    ['imports flow along the table', 'packages/format/src/a.ts', `import { type X } from '@cipherlog/raft'`],
    ['imports flow along the table', 'packages/client/src/a.ts', `import { x } from '@cipherlog/prover'`],
    ['imports flow along the table', 'packages/new/src/a.ts', `export const x = 1`],
    ['no import leaves its package by a relative path', 'packages/a/src/b.ts', `import '../../c/src/d.ts'`],
    ['fixtures stay with tests', 'packages/a/src/b.ts', `import { x } from './c.fixture.ts'`],
    ['fixtures stay with tests', 'packages/a/src/b.ts', `import { x } from './c.example.ts'`],
    ['libraries stay at home', 'packages/audit/src/a.ts', `import mcl from 'mcl-wasm'`],
    ['libraries stay at home', 'packages/audit/src/a.ts', `import seal from 'node-seal/allows'`],
    ['libraries stay at home', 'packages/merkle/src/tree/a.ts', `import { MerkleTree } from 'merkletreejs'`],
    ['libraries stay at home', 'packages/client/src/a.test.ts', `const s = await import('snarkjs')`],
    ['pure code does no I/O', 'packages/server/src/pipeline/a.ts', `import { readFile } from 'node:fs/promises'`],
    ['file names are kebab-case', 'packages/a/src/inclusionProof.ts', ''],
    ['file names are kebab-case', 'packages/a/src/some_folder/a.ts', ''],
    ['sources open with what they are', 'packages/a/src/b.ts', '// A line comment.'],
    ['sources open with what they are', 'packages/a/src/b.d.ts', `declare module 'c'`],
    ['sources open with what they are', 'packages/a/src/b.ts', '// SPDX-License-Identifier: Apache-2.0\nexport {}'],
    ['exports are listed by hand', 'packages/a/src/index.ts', `export * from './b.ts'`],
    ['exports are listed by hand', 'packages/a/src/index.ts', `export type * from './b.ts'`],
    ...forbiddenWords.map(
      (word) =>
        ['nothing is left for later or switched off', 'test/a.test.ts', `// ${word}`] as [string, string, string],
    ),
    ['nothing is left for later or switched off', 'test/a.test.ts', `test${'.only'}('x', () => {})`],
    ['nothing is left for later or switched off', 'test/a.test.ts', `describe.concurrent${'.skip'}('x', () => {})`],
    ['nothing is cast to any', 'packages/a/src/b.ts', `const x = JSON.parse('1') as any`],
    ['files can be read in one sitting', 'packages/a/src/b.ts', '\n'.repeat(linesMax + 1)],
  ]
  test.each(bad)('%s: finds %s with %s', (rule, path, text) => {
    expect(rules[rule]!(sourceOf(path, text))).toHaveLength(1)
  })

  const good: [keyof typeof rules, string, string][] = [
    ['imports flow along the table', 'packages/merkle/src/a.ts', `import { x } from '@cipherlog/crypto/hash'`],
    ['imports flow along the table', 'packages/server/src/a.ts', `import { x } from '@cipherlog/crypto/evaluate/bfv'`],
    ['imports flow along the table', 'packages/format/src/a.ts', `import type { X } from '@cipherlog/raft'`],
    ['imports flow along the table', 'packages/client/src/a.ts', `const x = await import('@cipherlog/prover')`],
    ['imports flow along the table', 'packages/client/src/a.ts', `import { x } from '@cipherlog/merkle/tree'`],
    ['imports flow along the table', 'packages/raft/src/a.example.ts', `import { Raft } from '@cipherlog/raft'`],
    ['imports flow along the table', 'packages/server/src/a.test.ts', `import { x } from '@cipherlog/client'`],
    ['imports flow along the table', 'packages/server/src/a.ts', `// import '@cipherlog/client'`],
    ['no import leaves its package by a relative path', 'packages/a/src/b/c.ts', `import '../../package.json'`],
    ['fixtures stay with tests', 'packages/a/src/b.test.ts', `import { x } from './c.fixture.ts'`],
    ['fixtures stay with tests', 'test/conformance/a.ts', `import '../../packages/a/src/c.fixture.ts'`],
    ['libraries stay at home', 'packages/merkle/src/batch/a.ts', `import { MerkleTree } from 'merkletreejs'`],
    ['libraries stay at home', 'packages/proof/src/groth16/a.test.ts', `import mcl from 'mcl-wasm'`],
    ['libraries stay at home', 'scripts/a.ts', `import * as snarkjs from 'snarkjs'`],
    ['libraries stay at home', 'test/conformance/a.test.ts', `import seal from 'node-seal/allows'`],
    ['pure code does no I/O', 'packages/server/src/host/a.ts', `import { readFile } from 'node:fs/promises'`],
    ['file names are kebab-case', 'packages/a/src/inclusion-proof.test.ts', ''],
    ['sources open with what they are', 'packages/a/bin/b.ts', '#!/usr/bin/env node\n/** What it is. */'],
    ['sources open with what they are', 'packages/a/src/b.ts', '// SPDX-License-Identifier: MIT\n/** What it is. */'],
    ['sources open with what they are', 'packages/a/src/b.example.ts', `import { x } from './c.ts'`],
    ['exports are listed by hand', 'packages/core/src/index.ts', `export * from './b.ts'`],
    ['exports are listed by hand', 'packages/a/src/index.ts', `export { b } from './b.ts'`],
    ['nothing is left for later or switched off', 'packages/a/src/b.ts', 'reader.skip(4)'],
    ['nothing is cast to any', 'packages/a/src/b.ts', '/** the same as any other */ const x = 1 as unknown'],
    ['files can be read in one sitting', 'packages/a/src/b.ts', '\n'.repeat(linesMax)],
    ['files can be read in one sitting', 'packages/raft/src/raft.ts', '\n'.repeat(linesMax + 1)],
  ]
  test.each(good)('%s: lets %s pass with %s', (rule, path, text) => {
    expect(rules[rule]!(sourceOf(path, text))).toEqual([])
  })
})

/** Tests under src, in a folder that has something to test. */
function testsWithoutSources(sources: readonly Source[]): Violation[] {
  const inPackages = sources.filter((source) => packageOf(source) !== undefined)
  const folders = new Set(inPackages.filter((source) => !isTest(source)).map(({ path }) => dirname(path)))
  return inPackages
    .filter(({ path }) => path.endsWith('.test.ts') && !folders.has(dirname(path)))
    .map(({ path }) => ({ at: path, says: 'move it beside what it tests' }))
}

/** Every package says what it is, under which licence, and what it offers. */
function incompletePackage(name: string): Violation[] {
  const folder = join('packages', name)
  const at = `packages/${name}/package.json`
  const found: Violation[] = []
  if (!existsSync(join(root, folder, 'README.md'))) found.push({ at: `packages/${name}`, says: 'has no README.md' })
  const manifest = manifestOf(name)
  // circomlib and snarkjs are GPL; nothing else may be.
  const license = name === 'prover' ? 'GPL-3.0-or-later' : 'Apache-2.0'
  if (manifest.name !== `@cipherlog/${name}`) found.push({ at, says: `name is not @cipherlog/${name}` })
  if (manifest.license !== license) found.push({ at, says: `license is not ${license}` })
  if (!manifest.description) found.push({ at, says: 'description is empty' })
  const targets = [...leavesOf(manifest.exports), ...leavesOf(manifest.bin)]
  if (targets.length === 0) found.push({ at, says: 'has neither exports nor bin' })
  for (const target of targets) {
    // A subpath pattern (`./src/*.ts`) stands for at least one file.
    if (globSync(target, { cwd: join(root, folder) }).length === 0) found.push({ at, says: `${target} does not exist` })
  }
  return found
}

/** What sources import from elsewhere stands in their package's own dependencies. */
function undeclaredLibraries(sources: readonly Source[]): Violation[] {
  return sources.flatMap((source) => {
    const own = packageOf(source)
    if (own === undefined || isTest(source)) return []
    const { dependencies, optionalDependencies, peerDependencies } = manifestOf(own)
    const declared = { ...dependencies, ...optionalDependencies, ...peerDependencies }
    return importsOf(source).flatMap(({ from, line }) => {
      const library = libraryOf(from)
      return library === undefined || library.startsWith('@cipherlog/') || library in declared
        ? []
        : [{ at: `${source.path}:${line}`, says: `${library} is not in packages/${own}/package.json` }]
    })
  })
}

/** The page says which test a promise rests on: a test that moved must not leave its promise behind. */
function brokenLinks(page: string): Violation[] {
  const links = [...readFileSync(join(root, page), 'utf8').matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)]
  if (links.length === 0) return [{ at: page, says: 'has no links' }]
  return links
    .filter(([, target]) => !existsSync(join(root, dirname(page), target!)))
    .map(([, target]) => ({ at: page, says: `${target} does not exist` }))
}

interface Manifest {
  readonly name?: string
  readonly license?: string
  readonly description?: string
  readonly exports?: unknown
  readonly bin?: unknown
  readonly dependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
}

function manifestOf(name: string): Manifest {
  return JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8')) as Manifest
}

/** All strings in nested objects: the files behind `exports` and `bin`, whatever their conditions. */
function leavesOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(leavesOf) : []
}

function sourceOf(path: string, text: string): Source {
  return { path, text, tree: ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true) }
}

function packageOf({ path }: Source): string | undefined {
  return /^packages\/([^/]+)\//.exec(path)?.[1]
}

/** Tests, and what only tests use: fixtures, a README's example that a test runs, everything under test/. */
function isTest({ path }: Source): boolean {
  return path.startsWith('test/') || /\.(?:test|fixture|example)\.ts$/.test(basename(path))
}

/** The npm package of a specifier, or undefined for relative paths, Node's own modules and `#` aliases. */
function libraryOf(from: string): string | undefined {
  return /^(?![.#/]|node:)(?:@[^/]+\/)?[^/]+/.exec(from)?.[0]
}

function covers(arrow: Arrow, target: string): boolean {
  const to = typeof arrow === 'string' ? arrow : 'types' in arrow ? arrow.types : arrow.dynamic
  return target === to || target.startsWith(`${to}/`)
}

/**
 * Everything a source imports. `import { type X }` counts as a value import: the empty import that remains of it
 * still loads the module.
 */
function importsOf(source: Source): Import[] {
  const found: Import[] = []
  visit(source.tree, (node) => {
    const add = (from: ts.Node | undefined, kind: Import['kind']) => {
      if (from !== undefined && ts.isStringLiteralLike(from)) {
        found.push({ from: from.text, kind, line: lineOf(source, from) })
      }
    }
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, node.importClause?.isTypeOnly ? 'types' : 'value')
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly ? 'types' : 'value')
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, 'types')
    else if (ts.isCallExpression(node)) {
      if (node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], 'dynamic')
      else if (ts.isIdentifier(node.expression) && node.expression.text === 'require') add(node.arguments[0], 'value')
    }
  })
  return found
}

function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node)
  ts.forEachChild(node, (child) => visit(child, see))
}

function lineOf({ tree }: Source, node: ts.Node): number {
  return tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1
}
