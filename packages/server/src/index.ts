/** Running a replica in one's own process, and the parts that tests and tools need. */
export { startNode, nodeVersion, type NodeOptions, type RunningNode } from './host/node.ts'
export { loadConfig, parseAddress, ConfigError, type NodeConfig } from './host/config.ts'
export { createLogger, type NodeLogger } from './host/logging.ts'
export {
  cosignerMemberOf,
  describeMember,
  generateNodeKeys,
  readNodeKeys,
  writeNodeKeys,
  type MemberDescription,
} from './host/keys.ts'
export { type ClusterApi, type NodeApi, type NodeStatus, type RequestedChange } from './node-api.ts'
export { connectCluster, type ClusterClient, type ClusterClientOptions } from './host/cluster-client.ts'
export { type Replicator } from './replicator.ts'
export { backUp, openBackup, type Backup, type BackupContents } from './host/backup.ts'
export { writeRestoredData } from './host/restored-data.ts'
