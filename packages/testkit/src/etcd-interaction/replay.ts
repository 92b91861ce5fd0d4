/** Runs a scenario file and says what each of its commands said, beside what was expected. */
import { type Directive, parseScenario } from './datadriven.ts'
import { InteractionEnvironment } from './environment.ts'

export interface ScenarioStep {
  readonly directive: Directive
  /** With a line feed at its end. */
  readonly actual: string
}

/** @throws {@link SyntaxError} on a malformed scenario. */
export function replayScenario(text: string, environment = new InteractionEnvironment()): ScenarioStep[] {
  return parseScenario(text).map((directive) => {
    const output = environment.handle(directive)
    return { directive, actual: output.endsWith('\n') ? output : `${output}\n` }
  })
}
