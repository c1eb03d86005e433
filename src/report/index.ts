export { epsLabel } from './eps-label.js'
export { renderReport } from './html.js'
export { RunFolder, type RunFolderOptions, writeAtomically } from './run-folder.js'
export { renderTable } from './table.js'
