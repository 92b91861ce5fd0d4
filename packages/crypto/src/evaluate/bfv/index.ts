/** BFV without any secret: parameter sets, the gate and addition (suites 3 to 5, DESIGN §6). */
export { type BfvSuite, type BfvSuiteNumber, bfvSuites } from './suites.ts'
export { inspectBfvCiphertext, inspectBfvPublicKey, inspectBfvSum } from './gate.ts'
export { type BfvEvaluator, loadBfvEvaluator } from './evaluator.ts'
