/**
 * Puts virtual time and seeded randomness behind the globals that code under test uses: timers, `Date.now`,
 * `performance.now`, `Math.random`, `crypto.getRandomValues`. WebCrypto's asynchronous calls are counted and done one
 * after the other, so that the scheduler can wait for them and their order is always the same.
 *
 * Meant for a process of its own: `restore` undoes it, and nothing else may run meanwhile.
 */
import { type Prng } from '../prng.ts'
import { type Scheduler, type SimulatedEvent } from './scheduler.ts'

/** Virtual time 0 as a date: 2023-11-14. */
export const epochMs = 1_700_000_000_000

const timerMsMin = 1

/** What `setTimeout` returns. */
class VirtualTimer {
  event: SimulatedEvent | undefined
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  hasRef(): boolean {
    return true
  }
  cancel(): void {
    this.event?.cancel()
    this.event = undefined
  }
}

const subtleCalls = [
  ...['decrypt', 'deriveBits', 'deriveKey', 'digest', 'encrypt', 'exportKey', 'generateKey', 'importKey', 'sign'],
  ...['unwrapKey', 'verify', 'wrapKey'],
] as const

/** @param random - of the process whose code is running. */
export function installVirtualGlobals(scheduler: Scheduler, random: () => Prng): { restore(): void } {
  const undo: (() => void)[] = []
  const replace = (target: object, name: string, value: unknown): void => {
    const before = Object.getOwnPropertyDescriptor(target, name)
    Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: true })
    undo.push(() => {
      if (before === undefined) Reflect.deleteProperty(target, name)
      else Object.defineProperty(target, name, before)
    })
  }

  const start = (label: string, ms: number, run: () => void, again: boolean): VirtualTimer => {
    const timer = new VirtualTimer()
    const process = scheduler.current
    const fire = (): void => {
      if (again) timer.event = scheduler.after(ms, process, label, fire)
      else timer.event = undefined
      run()
    }
    timer.event = scheduler.after(ms, process, label, fire)
    return timer
  }
  const delay = (ms: unknown): number => Math.max(timerMsMin, Math.floor(Number(ms ?? 0)) || 0)
  const cancel = (timer: unknown): void => {
    if (timer instanceof VirtualTimer) timer.cancel()
  }
  type Callback = (...args: unknown[]) => void
  replace(globalThis, 'setTimeout', (run: Callback, ms?: number, ...args: unknown[]) =>
    start('timeout', delay(ms), () => run(...args), false),
  )
  replace(globalThis, 'setInterval', (run: Callback, ms?: number, ...args: unknown[]) =>
    start('interval', delay(ms), () => run(...args), true),
  )
  replace(globalThis, 'setImmediate', (run: Callback, ...args: unknown[]) =>
    start('immediate', 0, () => run(...args), false),
  )
  for (const name of ['clearTimeout', 'clearInterval', 'clearImmediate']) replace(globalThis, name, cancel)

  replace(Date, 'now', () => epochMs + Math.floor(scheduler.now))
  replace(performance, 'now', () => scheduler.now)
  replace(Math, 'random', () => random().float())
  replace(globalThis.crypto, 'getRandomValues', <T extends ArrayBufferView>(target: T): T => {
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength)
    const prng = random()
    for (let at = 0; at < bytes.length; at++) bytes[at] = prng.uint32() & 0xff
    return target
  })

  const { subtle } = globalThis.crypto
  let queue: Promise<unknown> = Promise.resolve()
  for (const name of subtleCalls) {
    const native = subtle[name].bind(subtle) as (...args: unknown[]) => Promise<unknown>
    replace(subtle, name, (...args: unknown[]): Promise<unknown> => {
      scheduler.nativePending++
      const result = queue.then(() => native(...args)).finally(() => scheduler.nativePending--)
      queue = result.catch(() => undefined)
      return result
    })
  }

  return {
    restore() {
      for (const step of undo.reverse()) step()
    },
  }
}
