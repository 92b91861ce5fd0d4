/** Runs seeds that its parent sends, one after the other: the simulator for whoever wants several at a time. */
import { runSimulation } from '@cipherlog/testkit/simulation'

process.on('message', ({ seed }: { seed: number }) => {
  void runSimulation(seed).then((result) => process.send!(result))
})
process.on('disconnect', () => process.exit())
