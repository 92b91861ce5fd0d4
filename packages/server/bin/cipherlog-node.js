#!/usr/bin/env node
// Plain JavaScript, so that an old Node can say what is wrong instead of failing to parse.
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(`cipherlog-node needs Node 22.19 or newer, this is ${process.version}; run it with a newer Node.`)
  process.exit(70)
}
await import('../src/main.ts')
