// SPDX-License-Identifier: MIT
// What was dropped on the page: files, and all that is in a folder, however deep.

/** Must be called within the event: the browser forgets what was dropped right after it. */
export async function droppedFiles(dropped: DataTransfer | null): Promise<File[]> {
  const plain = [...(dropped?.files ?? [])]
  const entries = [...(dropped?.items ?? [])].map((item) => (item.kind === 'file' ? (item.webkitGetAsEntry?.() ?? null) : null)).filter((one) => one !== null)
  if (!entries.some((entry) => entry.isDirectory)) return plain
  const found: File[] = []
  for (const entry of entries) await collect(entry, found)
  return found
}

async function collect(entry: FileSystemEntry, found: File[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File | null>((resolve) => (entry as FileSystemFileEntry).file(resolve, () => resolve(null)))
    if (file) found.push(file)
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    // A hundred at a time, until there are none.
    const some = await new Promise<FileSystemEntry[]>((resolve) => reader.readEntries(resolve, () => resolve([])))
    if (some.length === 0) return
    for (const one of some) await collect(one, found)
  }
}
