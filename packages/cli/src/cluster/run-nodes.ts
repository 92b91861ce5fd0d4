/** Several nodes of one cluster, up and down together. */
import { CipherlogError } from '@cipherlog/core'
import { type NodeFiles } from './layout.ts'
import { startNodeProcess, type NodeProcess, type NodeProcessOptions } from './node-process.ts'
import { forgetPid, runningPid, writePid } from './pid-file.ts'

/**
 * Starts nodes at the same time and notes their process ids; if one fails, the others are stopped again.
 * @param onUp - called as each comes up.
 * @throws CipherlogError `ERR_ALREADY_RUNNING`, `ERR_NODE_START`
 */
export async function startNodes(
  nodes: readonly NodeFiles[],
  options: NodeProcessOptions & { readonly onUp?: (node: NodeProcess) => void } = {},
): Promise<NodeProcess[]> {
  for (const node of nodes) {
    const pid = await runningPid(node)
    if (pid === undefined) continue
    const message = `Node ${node.number} runs already (process ${pid}); stop it with \`cipherlog down\`.`
    throw new CipherlogError('ERR_ALREADY_RUNNING', message, { details: { node: node.number, pid } })
  }
  const started = await Promise.allSettled(
    nodes.map(async (node) => {
      const process = await startNodeProcess(node, options)
      await writePid(node, process.pid)
      void process.exited.then(() => forgetPid(node))
      options.onUp?.(process)
      return process
    }),
  )
  const running = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const failed = started.find((outcome) => outcome.status === 'rejected')
  if (failed === undefined) return running
  await stopNodes(running)
  throw failed.reason
}

export async function stopNodes(processes: readonly NodeProcess[]): Promise<void> {
  await Promise.all(processes.map((process) => process.stop()))
}
