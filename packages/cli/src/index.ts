/** The command as a function: for programs that embed it, and for tests. */
export { run } from './program.ts'
export { type Io } from './context.ts'
export { type Streams } from './output.ts'
export { exitCodes, type ExitCode } from './exit-codes.ts'
