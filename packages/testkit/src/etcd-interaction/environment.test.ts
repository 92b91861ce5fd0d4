import { messageOf } from '@cipherlog/raft/etcd'
import { describe, expect, test } from 'vitest'
import { parseScenario } from './datadriven.ts'
import { InteractionEnvironment } from './environment.ts'

const text = (data: Uint8Array): string => new TextDecoder().decode(data)

/** An environment after these commands, which say nothing. */
function after(...commands: string[]): InteractionEnvironment {
  const environment = new InteractionEnvironment()
  for (const directive of parseScenario(`log-level none\n${commands.join('\n')}\n----\nok\n`)) {
    expect(environment.handle(directive)).toBe('ok')
  }
  return environment
}

describe('InteractionEnvironment', () => {
  test('a machine appends what is applied to the content it began with', () => {
    const { nodes } = after(
      'add-nodes 3 voters=(1,2,3) index=3 content=begin',
      'campaign 1',
      'stabilize',
      'propose 2 -end',
      'stabilize',
    )
    expect(nodes.map(({ history }) => text(history.at(-1)!.data))).toEqual(['begin-end', 'begin-end', 'begin-end'])
  })

  test('a replica that got a snapshot goes on from its state, and can give it to others', () => {
    const environment = after('add-nodes 1 voters=(1) index=3 content=begin', 'campaign 1', 'stabilize', 'add-nodes 1')
    for (const directive of parseScenario('propose-conf-change 1\nv2\n----\n\nstabilize\n----\n')) {
      environment.handle(directive)
    }
    environment.nodes[0]!.raw.propose(new TextEncoder().encode('-end'))
    environment.stabilize()
    const { history } = environment.nodes[1]!
    expect(text(history.at(-1)!.data)).toBe('begin-end')
    expect(history.at(-1)!.metadata.confState.voters).toEqual([1, 2])
  })

  test('replicas can be configured otherwise', () => {
    const environment = new InteractionEnvironment({ onConfig: (config) => ({ ...config, electionTick: 7 }) })
    const [directive] = parseScenario('add-nodes 1 voters=(1) index=2\n----\n')
    environment.handle(directive!)
    expect(environment.nodes[0]!.config.electionTick).toBe(7)
  })

  test.each([
    ['add-nodes 1 voters=(1) index=1', 'index must be specified as > 1 due to bootstrap'],
    ['campaign 3', 'there is no replica 3'],
    ['log-level loud', 'log levels must be either of'],
    ['deliver-msgs 1 drop=(1)', "can't both deliver and drop"],
    ['deliver-msgs 1 type=MsgNone', 'unknown message type MsgNone'],
    ['propose-conf-change 1 transition=soon', 'unknown transition soon'],
    ['propose-conf-change 1 v1=true', 'v1 conf change can only have one operation'],
    ['set-randomized-election-timeout 1', 'nothing is no number'],
  ])('%s is answered by what is wrong', (command, message) => {
    const environment = after('add-nodes 1 voters=(1) index=2')
    const [directive] = parseScenario(`${command}\n----\n`)
    expect(environment.handle(directive!)).toContain(message)
  })

  test('a broken promise ends the scenario instead of becoming a part of it', () => {
    const environment = after('add-nodes 3 voters=(1,2,3) index=2', 'campaign 1', 'stabilize')
    environment.messages.push(messageOf({ type: 'MsgHeartbeat', from: 2, to: 1, term: 1 }))
    const [directive] = parseScenario('deliver-msgs 1\n----\n')
    expect(() => environment.handle(directive!)).toThrow(expect.objectContaining({ code: 'ERR_INVARIANT' }))
  })

  test('what a replica sends itself is not dropped', () => {
    const environment = after(
      'add-nodes 1 voters=(1) index=2 async-storage-writes=true',
      'campaign 1',
      'process-ready 1',
      'process-append-thread 1',
    )
    expect(environment.deliver([{ id: 1, drop: true }])).toBe(0)
    expect(environment.deliver([{ id: 1, drop: false }])).toBe(1)
    expect(environment.nodes[0]!.raw.basicStatus().raftState).toBe('StateLeader')
  })
})
