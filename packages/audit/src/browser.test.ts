/** What the audit loads in a browser: nothing of Node, however far its imports reach. */
import { readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

const packages = join(import.meta.dirname, '..', '..')

/** Where a browser's bundler finds an import; undefined for libraries from elsewhere. */
function resolve(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return join(dirname(from), specifier)
  const [, own] = /^#(.+)$/.exec(specifier) ?? []
  const [, name, subpath] = /^@cipherlog\/([^/]+)(.*)$/.exec(specifier) ?? []
  const folder = own === undefined ? name : from.slice(packages.length + 1).split('/')[0]
  if (folder === undefined) return undefined
  const manifest = JSON.parse(readFileSync(join(packages, folder, 'package.json'), 'utf8')) as {
    exports: Record<string, string>
    imports: Record<string, { default: string }>
  }
  const target = own === undefined ? manifest.exports[`.${subpath}`] : manifest.imports[specifier]?.default
  if (target === undefined) throw new Error(`${from} imports ${specifier}, which is nowhere`)
  return join(packages, folder, target)
}

/** Every source behind an entry, and every other module it names. Imports of types are not loaded. */
function reach(entry: string): { sources: Set<string>; modules: Set<string> } {
  const sources = new Set<string>()
  const modules = new Set<string>()
  const pending = [entry]
  for (let source = pending.pop(); source !== undefined; source = pending.pop()) {
    if (sources.has(source)) continue
    sources.add(source)
    const { outputText } = ts.transpileModule(readFileSync(source, 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ESNext, verbatimModuleSyntax: true },
    })
    for (const { fileName } of ts.preProcessFile(outputText).importedFiles) {
      const target = resolve(source, fileName)
      if (target === undefined) modules.add(fileName)
      else pending.push(target)
    }
  }
  return { sources, modules }
}

const ofNode = (modules: Set<string>) =>
  [...modules].filter((module) => module.startsWith('node:') || builtinModules.includes(module.split('/')[0]!))

test('the main entry reaches no module of Node, and not merkletreejs, which needs a Buffer', () => {
  const { sources, modules } = reach(join(packages, 'audit/src/index.ts'))
  expect(sources.size).toBeGreaterThan(80)
  expect([...sources]).toContainEqual(expect.stringContaining('sha256-noble.ts'))
  expect(ofNode(modules)).toEqual([])
  expect(modules).not.toContain('merkletreejs')
})

test('the walk would have noticed: the entry for Node reaches them', () => {
  expect(ofNode(reach(join(packages, 'audit/src/node.ts')).modules)).toContain('node:fs/promises')
})
