/** `cipherlog down`: stops the nodes of a cluster, whoever started them. */
import { type Command } from 'commander'
import { integer } from '../arguments.ts'
import { listNodes, nodeNumbered } from '../cluster/layout.ts'
import { stopRunning } from '../cluster/pid-file.ts'
import { contextOf, type Io } from '../context.ts'

export function addDown(program: Command, io: Io): void {
  program
    .command('down')
    .description('stop the nodes that `up` has left running, or one of them')
    .option('--node <n>', 'only this one; hand leadership over first if it leads', integer(1, 99))
    .action(async ({ node: number }: { node?: number }, command: Command) => {
      const { output, directory } = contextOf(command, io)
      const nodes = number === undefined ? await listNodes(directory) : [await nodeNumbered(directory, number)]
      const stopped = await Promise.all(
        nodes.map(async (node) => ({ number: node.number, ran: await stopRunning(node) })),
      )
      const numbers = stopped.filter(({ ran }) => ran).map(({ number }) => number)
      output.result({ stopped: numbers }, numbers.length === 0 ? 'No node was running.' : `Stopped ${named(numbers)}.`)
    })
}

const named = (numbers: readonly number[]): string => `${numbers.length === 1 ? 'node' : 'nodes'} ${numbers.join(', ')}`
