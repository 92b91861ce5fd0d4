/** Where an auditor reads a trail from: a copied directory, a web server, an archive. Nothing in it is believed. */
export interface TrailSource {
  /** Paths of all files, relative to the trail's root with `/`, in any order. */
  list(): Promise<readonly string[]>
  /** A whole file, or undefined if there is none. */
  read(path: string): Promise<Uint8Array | undefined>
}
