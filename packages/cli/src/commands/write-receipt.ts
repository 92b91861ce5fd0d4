/** What every command that writes ends with: where it stands, and the receipt if one was asked for. */
import type { Done } from '@cipherlog/client'
import { requireAbsent, writeNew } from '../files.ts'
import { type Output } from '../output.ts'

export interface WriteOptions {
  /** File for the receipt; the signed bundle goes beside it. */
  readonly receipt?: string
}

/** A receipt that cannot be kept is no use, so this is checked before anything is sent. @throws CipherlogError `ERR_FILE` */
export async function requireReceiptFiles({ receipt }: WriteOptions): Promise<void> {
  if (receipt === undefined) return
  for (const path of [receipt, bundleFileOf(receipt)]) await requireAbsent(path)
}

/** Prints the outcome; waits for the receipt, which the SDK verifies, and writes it. */
export async function keepReceipt(done: Done, { receipt: file }: WriteOptions, output: Output): Promise<void> {
  const { position, verdict, duplicate, command } = done
  if (file === undefined) {
    output.result({ position, verdict, duplicate }, `applied at ${position}`)
    return
  }
  output.progress('Waiting for the receipt …')
  const { bytes, bundle } = await done.receipt()
  await writeNew(file, bytes)
  await writeNew(bundleFileOf(file), bundle)
  output.result(
    { position, verdict, duplicate, receipt: file, bundle: bundleFileOf(file), command },
    `published at ${position}`,
  )
  output.note(
    `Verify it anywhere: cipherlog receipt verify ${file} --bundle ${bundleFileOf(file)} --command ${command}`,
  )
}

const bundleFileOf = (receiptFile: string): string => `${receiptFile}.bundle`
