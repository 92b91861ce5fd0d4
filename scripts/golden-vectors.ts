/** Writes test/conformance/vectors/formats.json from the fixed samples: `node scripts/golden-vectors.ts`. */
import { writeFileSync } from 'node:fs'
import { format, resolveConfig } from 'prettier'
import { goldenFile } from '../test/conformance/formats/golden.ts'

const target = new URL('../test/conformance/vectors/formats.json', import.meta.url)
const file = goldenFile()
const options = await resolveConfig(target)
writeFileSync(target, await format(JSON.stringify(file, undefined, 2), { ...options, parser: 'json' }))
console.log(
  `${file.vectors.length} vectors, ${file.vectors.reduce((sum, { invalid }) => sum + invalid.length, 0)} mutations`,
)
