/**
 * Switches one known bug of mutants.ts on in this process: `CIPHERLOG_MUTANT=<name> node --import ./mutate.ts …`.
 *
 * The source is changed while the module is loaded, so products have no hooks for it. A patch whose text does not occur
 * exactly once in its file stops the process: a mutant that no longer applies must not pass for one that was caught.
 */
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { applyPatches, mutants } from './mutants.ts'

const root = join(import.meta.dirname, '../..')
const name = process.env['CIPHERLOG_MUTANT']
const mutant = mutants.find((candidate) => candidate.name === name)
if (mutant === undefined) throw new Error(`CIPHERLOG_MUTANT names no mutant of test/simulation/mutants.ts: ${name}`)

const waiting = new Set(mutant.patches.map(({ file }) => pathToFileURL(join(root, file)).href))

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    if (!waiting.delete(url)) return loaded
    const { source } = loaded
    if (source === null || source === undefined) throw new Error(`${url} was loaded without its source`)
    const text = typeof source === 'string' ? source : new TextDecoder().decode(source)
    const patches = mutant.patches.filter(({ file }) => pathToFileURL(join(root, file)).href === url)
    return { ...loaded, source: applyPatches(text, patches) }
  },
})

process.on('exit', (code) => {
  if (waiting.size === 0) return
  console.error(`mutant ${name}: never loaded: ${[...waiting].join(', ')}`)
  process.exitCode = code === 0 ? 3 : code
})
