/**
 * Encrypting and decrypting: for clients and readers only. No server module may import this; a test of the server
 * walks its runtime module list.
 */
export {
  encapsulatedKeyBytes,
  generateReaderKey,
  openFromSender,
  type ReaderKeyPair,
  readerKeyId,
  readerPublicKeyBytes,
  readerSecretKeyBytes,
  sealToReader,
} from './reader.ts'
export { openValue, sealValue } from './value.ts'
export { padme } from './padme.ts'
export { blindName, commitContentKey } from './content-key.ts'
export { openWithPassphrase, sealWithPassphrase } from './passphrase.ts'
export { elgamalAmountMax, type ElgamalKeyPair, elgamalPop, encryptElgamal, generateElgamalKey } from './elgamal.ts'
export { openElgamal } from './elgamal-open.ts'
export { type BfvClient, type BfvKeyPair, loadBfvClient } from './bfv.ts'
