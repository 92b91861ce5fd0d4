/**
 * The exhaustive exploration of the bare core from the command line:
 * `node test/simulation/explore.ts [--nodes 3] [--terms 2] [--entries 2] [--crashes 1] [--disk sync|async] [--json]`.
 *
 * Prints what was searched; exit code 0: every state within the bounds keeps Raft's properties, 1: one does not, and the
 * steps to it are printed.
 */
import { exploreRaft, type RaftBounds } from '@cipherlog/testkit'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '3' },
    terms: { type: 'string', default: '2' },
    entries: { type: 'string', default: '2' },
    crashes: { type: 'string', default: '1' },
    disk: { type: 'string', default: 'sync' },
    states: { type: 'string', default: 'Infinity' },
    json: { type: 'boolean', default: false },
  },
})
const { nodes, terms, entries, crashes, states } = values
const disk = values.disk === 'async' ? ('async' as const) : ('sync' as const)
const bounds: RaftBounds = {
  nodes: Number(nodes),
  terms: Number(terms),
  entries: Number(entries),
  crashes: Number(crashes),
  disk,
}
const found = exploreRaft(bounds, Number(states))
console.log(values.json ? JSON.stringify(found) : found)
process.exitCode = found.violation === undefined ? 0 : 1
