/** Wakes everyone who waits for the next of something; nobody who gave up waiting is remembered. */
export class Signal {
  readonly #waiting = new Set<() => void>()

  /** Resolves at the next {@link wake}, after `msMax`, or when `signal` aborts. */
  wait(msMax: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, msMax)
      signal?.addEventListener('abort', done)
      this.#waiting.add(done)
    })
  }

  wake(): void {
    for (const done of [...this.#waiting]) done()
  }
}
