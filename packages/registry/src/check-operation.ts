/** Whether an operation is allowed in a state: one file for what concerns clients, keysets, namespaces, cosigners, rules. */
import { type KeyOperation } from '@cipherlog/format'
import { checkAddClient, checkRevokeClient, checkSetGrants } from './check-client.ts'
import { checkCosignerSet } from './check-cosigner-set.ts'
import { checkActivate, checkAddKeyVersion, checkCompromise, checkCreateKeyset } from './check-keyset.ts'
import { checkCreateNamespace } from './check-namespace.ts'
import { type RegistryState } from './registry-state.ts'
import { checkSetRules } from './rules.ts'

/** @throws {@link RefusedError} `ERR_REGISTRY_*` naming the rule that the operation breaks. */
export function checkOperation(state: RegistryState, operation: KeyOperation): void {
  switch (operation.type) {
    case 'addClient':
      return checkAddClient(state, operation)
    case 'setGrants':
      return checkSetGrants(state, operation)
    case 'revokeClient':
      return checkRevokeClient(state, operation)
    case 'createKeyset':
      return checkCreateKeyset(state, operation)
    case 'addKeyVersion':
      return checkAddKeyVersion(state, operation)
    case 'activateKeyVersion':
      return checkActivate(state, operation)
    case 'compromiseKeyVersion':
      return checkCompromise(state, operation)
    case 'createNamespace':
      return checkCreateNamespace(state, operation)
    case 'cosignerSet':
      return checkCosignerSet(state, operation)
    case 'setRules':
      return checkSetRules(state, operation)
  }
}
