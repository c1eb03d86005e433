// Checks the kernels in a CUDA build, with no GPU: `node scripts/check-kernels.js [--update] [binary]`; binary: the plugin in build/Release.
//
//   * no kernel spills or uses local memory, on any architecture
//   * none uses more registers than native/cuda/registers.txt allows; --update writes what is used now as the new budget
//   * the matrix products for sm_90a are what they claim to be: HGMMA (wgmma; QGMMA for e4m3) and UTMALDG (TMA) in their code, no LDL or STL
//   * the plugin is at most 15 MB
//
// The tools come from scripts/cuda-toolkit --checks. A budget holds for the compiler it was written with; under another one registers
// beyond it are reported and no failure.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const MAX_PLUGIN_BYTES = 15e6
const root = fileURLToPath(new URL('..', import.meta.url))
const budgetFile = join(root, 'native/cuda/registers.txt')
const update = process.argv.includes('--update')
const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
const binary =
  process.argv.slice(2).find((argument) => !argument.startsWith('-')) ??
  join(root, `build/Release/libsignstep_cuda-${version}.so`)

function stop(message) {
  console.error(`check-kernels: ${message}`)
  process.exit(1)
}

if (!existsSync(binary))
  stop(`${binary} does not exist; cure: scripts/cuda-toolkit --checks, then npm run build:native`)
const toolkit = execFileSync(join(root, 'scripts/cuda-toolkit'), ['--checks'], { encoding: 'utf8' }).trim()
const tool = (name, args, options = {}) =>
  execFileSync(name, args, { encoding: 'utf8', maxBuffer: 2 ** 30, ...options })
const cuobjdump = (args, options) => tool(join(toolkit, 'bin/cuobjdump'), [...args, binary], options)
const compiler = /V(\d+\.\d+\.\d+)/.exec(tool(join(toolkit, 'bin/nvcc'), ['--version']))?.[1] ?? 'unknown'

// ---- what is there ---------------------------------------------------------------------------------------------------------------------
/** The name a budget is kept under: template arguments stay, parameters, namespaces and what depends on the folder go. */
function readable(mangled, demangled) {
  const name = demangled
    .replaceAll('(anonymous namespace)::', '')
    .replaceAll(/\bsignstep::((kernels|device|program|rt)::)?/g, '')
    .replace(/^void /, '')
  let depth = 0
  let end = name.length
  for (let i = 0; i < name.length; i++) {
    if (name[i] === '<') depth++
    else if (name[i] === '>') depth--
    else if (name[i] === '(' && depth === 0) {
      end = i
      break
    }
  }
  const file = /_GLOBAL__N__[0-9a-f]+_\d+_(\w+?)_cu_[0-9a-f]{8}/.exec(mangled)?.[1]
  return `${file ? `${file}: ` : ''}${name.slice(0, end)}`
}

/** Every kernel of every architecture: [{ arch, mangled, registers, stack, local }]. */
function resourceUsage() {
  const found = []
  let arch
  let mangled
  for (const line of cuobjdump(['-res-usage']).split('\n')) {
    const at = /^arch = (\w+)/.exec(line)
    if (at) arch = at[1]
    const named = /^ Function (\S+):/.exec(line)
    if (named) mangled = named[1]
    const used = /REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)/.exec(line)
    if (used && mangled) {
      found.push({ arch, mangled, registers: Number(used[1]), stack: Number(used[2]), local: Number(used[3]) })
      mangled = undefined
    }
  }
  return found
}

/** Counts of the instructions asked about, for each of these functions in the code for `arch`. */
function instructions(arch, functions, wanted) {
  const counts = new Map(functions.map((name) => [name, Object.fromEntries(wanted.map((word) => [word, 0]))]))
  let current
  // It warns of every file that a function is not in.
  const quiet = { stdio: ['ignore', 'pipe', 'ignore'] }
  for (const line of cuobjdump(['-sass', '-arch', arch, '-fun', functions.join(',')], quiet).split('\n')) {
    const named = /^\s+Function : (\S+)/.exec(line)
    if (named) current = counts.get(named[1])
    const word = /^\s+\/\*[0-9a-f]{4,}\*\/\s+(?:@!?U?P\w+ )?\s*([A-Z0-9]+)/.exec(line)?.[1]
    if (current && word in current) current[word]++
  }
  return counts
}

const usage = resourceUsage()
if (usage.length === 0) stop(`no kernels in ${binary}`)
const names = [...new Set(usage.map((entry) => entry.mangled))]
const demangled = tool('c++filt', [], { input: names.join('\n') })
  .trimEnd()
  .split('\n')
const nameOf = new Map(names.map((name, i) => [name, readable(name, demangled[i])]))
const archs = [...new Set(usage.map((entry) => entry.arch))]
const kernels = new Map() // name -> arch -> registers
const failures = []

for (const { arch, mangled, registers, stack, local } of usage) {
  const name = nameOf.get(mangled)
  const row = kernels.get(name) ?? {}
  kernels.set(name, row)
  row[arch] = Math.max(row[arch] ?? 0, registers)
  if (stack > 0 || local > 0) failures.push(`${name} on ${arch}: ${stack} bytes of stack, ${local} of local memory`)
}

// ---- the budget ------------------------------------------------------------------------------------------------------------------------
const sorted = [...kernels].sort(([a], [b]) => (a < b ? -1 : 1))
const line = (row, name) => `${archs.map((arch) => String(row[arch] ?? '-').padStart(8)).join('')}  ${name}`
const header = line(Object.fromEntries(archs.map((arch) => [arch, arch])), 'kernel')

if (update) {
  writeFileSync(
    budgetFile,
    [
      '# Registers each kernel may use, by architecture. Checked and rewritten (--update) by scripts/check-kernels.js.',
      `# compiler ${compiler}`,
      `#${header.slice(1)}`,
      ...sorted.map(([name, row]) => line(row, name)),
      '',
    ].join('\n'),
  )
}

const budget = new Map()
let budgetCompiler
let columns = []
for (const text of existsSync(budgetFile) ? readFileSync(budgetFile, 'utf8').split('\n') : []) {
  if (text.startsWith('# compiler ')) budgetCompiler = text.slice('# compiler '.length)
  else if (/^#\s+sm_/.test(text)) columns = text.slice(1).trim().split(/\s+/).slice(0, -1)
  else if (text.trim() && !text.startsWith('#')) {
    const words = text.trim().split(/\s+/)
    const name = words.slice(columns.length).join(' ')
    budget.set(name, Object.fromEntries(columns.map((arch, i) => [arch, Number(words[i])])))
  }
}
const binding = budgetCompiler === compiler

console.log(header)
for (const [name, row] of sorted) {
  console.log(line(row, name))
  for (const arch of archs) {
    const allowed = budget.get(name)?.[arch]
    if (row[arch] === undefined || row[arch] <= allowed) continue
    if (allowed === undefined || Number.isNaN(allowed)) {
      failures.push(
        `${name} on ${arch}: not in native/cuda/registers.txt; cure: node scripts/check-kernels.js --update`,
      )
    } else {
      const message = `${name} on ${arch}: ${row[arch]} registers, ${allowed} allowed`
      if (binding) failures.push(message)
      else console.log(`note: ${message} (budget of nvcc ${budgetCompiler}, this is ${compiler})`)
    }
  }
}
for (const name of budget.keys()) {
  if (!kernels.has(name)) {
    failures.push(`${name}: in native/cuda/registers.txt but not built; cure: node scripts/check-kernels.js --update`)
  }
}

// ---- the matrix products of sm_90a -----------------------------------------------------------------------------------------------------
const products = names.filter((name) => /wgmma/.test(nameOf.get(name)))
if (archs.includes('sm_90a')) {
  if (products.length === 0) failures.push('no kernel is named wgmma: the matrix products of sm_90a are missing')
  else {
    const columns = ['HGMMA', 'QGMMA', 'UTMALDG', 'LDL+STL'].map((word) => word.padStart(9)).join('')
    console.log(`\n${columns}  kernel on sm_90a`)
    for (const [mangled, count] of instructions('sm_90a', products, ['HGMMA', 'QGMMA', 'UTMALDG', 'LDL', 'STL'])) {
      const name = nameOf.get(mangled)
      const product = name.includes('e4m3') ? 'QGMMA' : 'HGMMA'
      const spilled = count.LDL + count.STL
      const counts = [count.HGMMA, count.QGMMA, count.UTMALDG, spilled]
      console.log(`${counts.map((number) => String(number).padStart(9)).join('')}  ${name}`)
      if (count[product] === 0) failures.push(`${name} on sm_90a: no ${product}`)
      if (count.UTMALDG === 0) failures.push(`${name} on sm_90a: no UTMALDG`)
      if (spilled > 0) failures.push(`${name} on sm_90a: ${spilled} loads and stores of local memory`)
    }
  }
}

// ---- size and verdict ------------------------------------------------------------------------------------------------------------------
const bytes = statSync(binary).size
if (bytes > MAX_PLUGIN_BYTES)
  failures.push(`the plugin has ${(bytes / 1e6).toFixed(1)} MB, ${MAX_PLUGIN_BYTES / 1e6} allowed`)
console.log(
  `\n${kernels.size} kernels, ${archs.length} architectures, nvcc ${compiler}, ${(bytes / 1e6).toFixed(1)} MB${update ? '; budget written' : ''}`,
)
if (failures.length > 0) {
  console.error(`\ncheck-kernels: ${failures.length} failures`)
  for (const failure of failures) console.error(`  ${failure}`)
  process.exit(1)
}
