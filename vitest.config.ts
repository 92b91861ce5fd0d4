import { defineConfig } from 'vitest/config'

/** Real processes whose disks, links and clocks of life are broken: minutes of them, so not part of `npm test`. */
const faults = ['test/integration/faults-*.test.ts', 'test/integration/crashes.test.ts']
/** Each known bug in a process of its own: as long. */
const mutants = 'test/simulation/mutants.test.ts'
const oneAtATime = { testTimeout: 180_000, hookTimeout: 120_000, fileParallelism: false }

// Kinds of tests: beside the code (fast, no processes), simulations, across packages, and with real processes.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['packages/*/src/**/*.test.ts', 'test/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'simulation',
          include: ['test/simulation/**/*.test.ts'],
          exclude: [mutants],
          testTimeout: 120_000,
        },
      },
      { test: { name: 'mutants', include: [mutants], testTimeout: 120_000 } },
      { test: { name: 'conformance', include: ['test/conformance/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts', 'test/bench/**/*.test.ts'],
          exclude: faults,
          ...oneAtATime,
        },
      },
      { test: { name: 'faults', include: faults, ...oneAtATime } },
    ],
  },
})
