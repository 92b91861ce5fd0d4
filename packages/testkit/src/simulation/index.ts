/** The whole-system simulator; for a process of its own, since it replaces globals. */
export { runSimulation, type SimulationResult } from './simulation.ts'
