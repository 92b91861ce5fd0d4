/** Clusters of real processes on this machine: for the quickstart and for tests. */
export { createCluster, type NewCluster } from './create-cluster.ts'
export { connectAs, connectAsGuest, type ConnectAsOptions } from './connect.ts'
export { registerOwnClient } from './register.ts'
export { readProfile, readTrustPolicy, type Profile } from './profile.ts'
export { clusterFiles, listNodes, nodeFiles, type NodeFiles } from './layout.ts'
export { lastWords, startNodeProcess, type NodeProcess, type NodeProcessOptions } from './node-process.ts'
export { startNodes, stopNodes } from './run-nodes.ts'
export { freePorts } from './free-ports.ts'
