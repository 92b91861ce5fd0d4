/** The tamper demonstration as a library, step by step. */
export { runTamperDemo, type AttackResult, type TamperDemoOptions } from './tamper.ts'
export { withStage, withTemporaryCluster, type StageOptions } from './stage.ts'
