import { CipherlogError, errorCode, ProposalOutcomeUnknownError, RefusedError } from '@cipherlog/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PendingProposals, type ApplyOutcome } from './proposals.ts'

const digest = new Uint8Array(32).fill(1)
const other = new Uint8Array(32).fill(2)
const applied: ApplyOutcome = { outcome: 'applied', answer: { leaf: 7, digest, verdicts: [0] } }
const refused: ApplyOutcome = { outcome: 'refused', error: new RefusedError('ERR_SEQUENCE_GAP', 'a gap') }

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('PendingProposals', () => {
  it('gives the one answer to the first and to every retry that joined it', async () => {
    const proposals = new PendingProposals()
    expect(proposals.join(digest, 1000)).toBeUndefined()
    const { answer } = proposals.start(digest, 1000)
    const joined = proposals.join(digest, 1000)
    expect(proposals.join(other, 1000)).toBeUndefined()
    expect(proposals.size).toBe(2)
    proposals.settle(digest, 3, applied)
    expect(await answer).toBe(applied)
    expect(await joined).toBe(applied)
    expect(proposals.size).toBe(0)
    expect(proposals.join(digest, 1000)).toBeUndefined()
  })

  it('ignores a refusal of another copy: the own one may still have an effect', async () => {
    const proposals = new PendingProposals()
    const { pending, answer } = proposals.start(digest, 1000)
    proposals.settle(digest, 3, refused)
    pending.index = 5
    proposals.settle(digest, 4, refused)
    expect(proposals.size).toBe(1)
    proposals.settle(digest, 5, applied)
    expect(await answer).toBe(applied)
  })

  it('passes on the refusal of the own copy', async () => {
    const proposals = new PendingProposals()
    const { pending, answer } = proposals.start(digest, 1000)
    pending.index = 5
    proposals.settle(digest, 5, refused)
    expect(await answer).toBe(refused)
  })

  it('takes the answer of whichever copy was applied', async () => {
    const proposals = new PendingProposals()
    const { answer } = proposals.start(digest, 1000)
    proposals.settle(digest, 2, applied)
    expect(await answer).toBe(applied)
  })

  it('says unknown when no answer comes in time, and forgets', async () => {
    const proposals = new PendingProposals()
    const { answer } = proposals.start(digest, 1000)
    const code = answer.catch(errorCode)
    await vi.advanceTimersByTimeAsync(999)
    expect(proposals.size).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(await code).toBe('ERR_OUTCOME_UNKNOWN')
    expect(proposals.size).toBe(0)
    expect(proposals.join(digest, 1000)).toBeUndefined()
    proposals.settle(digest, 1, applied)
  })

  it('lets a retry that joined wait its own time', async () => {
    const proposals = new PendingProposals()
    const first = proposals.start(digest, 1000).answer.catch(errorCode)
    await vi.advanceTimersByTimeAsync(600)
    const second = proposals.join(digest, 1000)!
    await vi.advanceTimersByTimeAsync(500)
    expect(await first).toBe('ERR_OUTCOME_UNKNOWN')
    proposals.settle(digest, 1, applied)
    expect(await second).toBe(applied)
  })

  it('fails one copy without touching a later one of the same bytes', async () => {
    const proposals = new PendingProposals()
    const first = proposals.start(digest, 1000)
    const code = first.answer.catch(errorCode)
    proposals.fail(first.pending, new CipherlogError('ERR_BUSY', 'busy'))
    expect(await code).toBe('ERR_BUSY')
    const second = proposals.start(digest, 1000)
    proposals.fail(first.pending, new ProposalOutcomeUnknownError())
    expect(proposals.size).toBe(1)
    proposals.settle(digest, 1, applied)
    expect(await second.answer).toBe(applied)
  })

  it('fails all at once, and leaves no timer behind', async () => {
    const proposals = new PendingProposals()
    const answers = [
      proposals.start(digest, 1000).answer,
      proposals.start(other, 1000).answer,
      proposals.join(other, 1000)!,
    ]
    const codes = answers.map((answer) => answer.catch(errorCode))
    proposals.failAll(new ProposalOutcomeUnknownError())
    expect(await Promise.all(codes)).toEqual(Array<string>(3).fill('ERR_OUTCOME_UNKNOWN'))
    expect(proposals.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })
})
