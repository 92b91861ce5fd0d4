/** How the quickstart looks: one line per step, a bar while it works, a tick when it held. */
import { stderr, stdout } from 'node:process'
import { styleText } from 'node:util'

export interface Step {
  /** What is happening now; replaces the line before on a terminal. */
  doing(text: string): void
  /** A fact worth reading, below the step. */
  fact(text: string): void
}

let number = 0

/** Runs a step; throws what it throws, after saying that it failed. */
export async function step<T>(title: string, run: (step: Step) => Promise<T>): Promise<T> {
  number++
  const start = performance.now()
  const facts: string[] = []
  const heading = `${String(number).padStart(2)}. ${title}`
  const line = (text: string): void => {
    if (stdout.isTTY) stdout.write(`\r\u001b[K${text}`)
  }
  if (!stdout.isTTY) stdout.write(`   ${heading} …\n`)
  line(`   ${heading}`)
  const seconds = (): string => styleText('dim', `${((performance.now() - start) / 1000).toFixed(1)} s`)
  try {
    const result = await run({
      doing: (text) => line(`   ${heading}  ${styleText('dim', text)}`),
      fact: (text) => facts.push(text),
    })
    line('')
    stdout.write(`${styleText('green', '✓')}  ${heading} ${seconds()}\n`)
    for (const fact of facts) stdout.write(`       ${fact}\n`)
    return result
  } catch (error) {
    line('')
    stdout.write(`${styleText('red', '✗')}  ${heading} ${seconds()}\n`)
    throw error
  }
}

/** A step did not show what it says, or its input is wrong: the message says all. */
export class StepFailed extends Error {}

/** Throws unless `condition` holds: a step that did not show what it says must not pass. */
export function require(condition: boolean, problem: string): asserts condition {
  if (!condition) throw new StepFailed(problem)
}

export function say(text: string): void {
  stdout.write(`${text}\n`)
}

export function complain(text: string): void {
  stderr.write(`${styleText('red', text)}\n`)
}
