import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

export const fixture = (name: string): string => new URL(`../fixtures/${name}`, import.meta.url).pathname

/** Real models, which live beside the repository and may be absent. */
export const sharedModels = '../shared/models'
export const hasSharedModels = existsSync(sharedModels)

export function sharedModelFiles(): string[] {
  if (!hasSharedModels) return []
  const entries = readdirSync(sharedModels, { recursive: true, encoding: 'utf8' })
  return entries.filter((entry) => entry.endsWith('.onnx')).map((entry) => join(sharedModels, entry))
}
