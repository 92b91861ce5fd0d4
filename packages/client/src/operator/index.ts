/** For key operators and readers: making clusters, clients, keysets and namespaces. */
export { createGenesis, defaultLimits, type CreatedGenesis, type GenesisOptions } from './genesis.ts'
export { Operator, type AppliedEvent, type OperatorOptions } from './operator.ts'
export { makeKeyVersion, memberOf, readerOf, type LocalReader } from './reader-keys.ts'
export { secretOfVersion, sealShare, type SharedVersion } from '../key-shares.ts'
