/** Batch roots by merkletreejs, checked against the compact range. Node only. */
export { assertBatchRoot, batchLeavesMax, batchRoot, crossCheckTile, rootOfBatch } from './batch-root.ts'
