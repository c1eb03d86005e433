export { renderReport } from './html.js'
export { epsLabel, RunFolder, type RunFolderOptions, writeAtomically } from './run-folder.js'
export { renderTable } from './table.js'
