import { confStateOf, Raft, type Effect, type Input, type PersistedState } from '@cipherlog/raft'

const voters = ['0a', '0b', '0c'].map((byte) => byte.repeat(16))
const config = {
  electionTicks: 10,
  heartbeatTicks: 1,
  preVote: true,
  checkQuorum: true,
  maxInflightMessages: 256,
  maxInflightBytes: 16 << 20,
  maxAppendBytes: 1 << 20,
  maxUncommittedBytes: 64 << 20,
  maxClockErrorMs: 500,
  diskStallTicks: 10,
  initialTimeMs: Date.now(),
  random: Math.random,
}
const hardState = { term: 0, votedFor: undefined, commit: 0 }
const empty: PersistedState = { hardState, refs: [], confState: confStateOf(voters) }
const nodes = new Map(voters.map((id) => [id, new Raft({ ...config, id }, empty)]))
const inbox: { id: string; input: Input }[] = []
export const committed = new Map(voters.map((id) => [id, 0]))

// A shell: it does what the effects say. This one has a perfect network and a disk that forgets nothing.
function perform(id: string, effect: Effect): void {
  if (effect.type === 'append') {
    // Write the hard state, the truncation and the entries, sync, and then:
    inbox.push({ id, input: { type: 'appended', ioId: effect.ioId } })
  } else if (effect.type === 'send') {
    inbox.push({ id: effect.to, input: { type: 'message', message: effect.message, clockMs: Date.now() } })
  } else if (effect.type === 'committed') {
    committed.set(id, effect.index) // apply everything up to here
  }
}

function step(id: string, input: Input): void {
  for (const effect of nodes.get(id)!.step(input)) perform(id, effect)
}

function settle(): void {
  for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) step(next.id, next.input)
}

const leader = (): Raft | undefined => [...nodes.values()].find(({ status }) => status.role === 'leader')
while (leader() === undefined) {
  for (const id of voters) step(id, { type: 'tick', clockMs: Date.now() })
  settle()
}

const { id, term } = leader()!.status
const digest = new Uint8Array(32).fill(7) // SHA-256 of the payload, which the core never sees
step(id, { type: 'propose', proposalId: 1, kind: 3, bytes: 100, digest, clockMs: Date.now() })
settle()
console.log(`${id} leads term ${term}; committed everywhere:`, [...committed.values()])
