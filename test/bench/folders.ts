/** Bytes of files, summed as a caller groups them. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Bytes of all files below `folder` by what `groupOf` says of their path there; undefined: not counted. */
export async function bytesBelow(
  folder: string,
  groupOf: (path: string) => string | undefined,
): Promise<Map<string, number>> {
  const sums = new Map<string, number>()
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const group = groupOf(path.slice(folder.length + 1))
    if (group === undefined) continue
    sums.set(group, (sums.get(group) ?? 0) + (await stat(path)).size)
  }
  return sums
}
