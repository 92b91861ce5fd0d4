/** Replays scenarios written for etcd's raft on this project's core: see README.md of the package. */
export { type Argument, type Command, type Directive, parseCommand, parseScenario } from './datadriven.ts'
export { InteractionEnvironment, type InteractionNode, type InteractionOptions } from './environment.ts'
export { replayScenario, type ScenarioStep } from './replay.ts'
