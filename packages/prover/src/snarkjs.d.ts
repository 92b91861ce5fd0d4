// SPDX-License-Identifier: GPL-3.0-or-later
/** The parts of snarkjs 0.7 that we call; the package brings no types. */
declare module 'snarkjs' {
  /** A file's path, its bytes, or a place in memory that a call fills. */
  type File = string | Uint8Array | MemoryFile
  interface MemoryFile {
    type: 'mem' | 'bigMem'
    data?: Uint8Array
  }
  interface SnarkjsLogger {
    debug(message: string): void
    info(message: string): void
    warn(message: string): void
    error(message: string): void
  }
  type Curve = { terminate(): Promise<void> }

  export const curves: {
    getCurveFromName(name: string, options?: { singleThread?: boolean }): Promise<Curve>
  }
  export const groth16: {
    prove(provingKey: File, witness: File, logger?: SnarkjsLogger): Promise<{ proof: unknown; publicSignals: string[] }>
  }
  export const wtns: {
    calculate(
      input: Readonly<Record<string, bigint | readonly bigint[]>>,
      wasm: File,
      witness: MemoryFile,
      options?: { memorySize?: number },
    ): Promise<void>
  }
  export const powersOfTau: {
    newAccumulator(curve: Curve, power: number, file: File, logger?: SnarkjsLogger): Promise<unknown>
    contribute(from: File, to: File, name: string, entropy: string, logger?: SnarkjsLogger): Promise<unknown>
    beacon(
      from: File,
      to: File,
      name: string,
      beaconHex: string,
      iterationsLog2: number,
      logger?: SnarkjsLogger,
    ): Promise<unknown>
    preparePhase2(from: File, to: File, logger?: SnarkjsLogger): Promise<unknown>
    verify(file: File, logger?: SnarkjsLogger): Promise<boolean>
  }
  export const zKey: {
    newZKey(r1cs: File, powersOfTau: File, zkey: File, logger?: SnarkjsLogger): Promise<unknown>
    contribute(from: File, to: File, name: string, entropy: string, logger?: SnarkjsLogger): Promise<unknown>
    beacon(
      from: File,
      to: File,
      name: string,
      beaconHex: string,
      iterationsLog2: number,
      logger?: SnarkjsLogger,
    ): Promise<unknown>
    verifyFromR1cs(r1cs: File, powersOfTau: File, zkey: File, logger?: SnarkjsLogger): Promise<boolean>
    exportVerificationKey(zkey: File, logger?: SnarkjsLogger): Promise<unknown>
  }
}
