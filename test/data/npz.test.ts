import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openDataset, writeNpz } from '#signstep/data/index.js'
import { type DType, type Tensor, tensorFromNumbers } from '#signstep/tensor/index.js'
import { scratch } from '../support/cli.js'
import { writeZip } from './zip-file.js'

/** An array file as the .npy format describes it. */
function npy(descr: string, shape: string, data: Uint8Array, order = 'False'): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`.padEnd(117).concat('\n')
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from([118, 0]), Buffer.from(header), data])
}

const bytesOf = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
const images = Float32Array.from({ length: 24 }, (_, i) => i / 24)
const good = {
  'images.npy': npy('<f4', '(2, 3, 2, 2)', bytesOf(images)),
  'labels.npy': npy('<i8', '(2,)', bytesOf(BigInt64Array.of(4n, 1n))),
}

function npzOf(files: Record<string, Uint8Array>, options?: Parameters<typeof writeZip>[2]): string {
  const path = join(scratch(), 'x.npz')
  writeZip(path, files, options)
  return path
}

async function second(path: string): Promise<number[]> {
  await using dataset = await openDataset(path)
  const out = new Float32Array(12)
  await dataset.read(1, out)
  return [...out]
}

describe('an .npz', () => {
  it('is read in place or, where it is compressed, through a temporary file that leaves no trace', async () => {
    const temporary = (): string[] => readdirSync(tmpdir()).filter((name) => /^signstep-.*\.npy$/.test(name))
    const before = temporary()
    expect(await second(npzOf(good))).toEqual([...images.subarray(12)])
    expect(await second(npzOf(good, { deflate: true }))).toEqual([...images.subarray(12)])
    expect(temporary()).toEqual(before)
  })

  it.each<[DType, (v: number) => number]>([
    ['float64', Math.fround],
    ['float16', (v) => Math.round(v * 2 ** 14) / 2 ** 14],
  ])('of %s is rounded to float32', async (dtype, round) => {
    const path = join(scratch(), 'x.npz')
    const quarters = Array.from({ length: 24 }, (_, i) => (i % 8) / 8)
    await writeNpz(path, {
      images: tensorFromNumbers(dtype, [2, 3, 2, 2], quarters),
      labels: tensorFromNumbers('int32', [2], [0, 1]),
    })
    expect(await second(path)).toEqual(quarters.slice(12).map(round))
  })

  it('of bytes is scaled by 1/255', async () => {
    const bytes = Uint8Array.from({ length: 24 }, (_, i) => 10 * i)
    const path = npzOf({ ...good, 'images.npy': npy('|u1', '(2, 3, 2, 2)', bytes) })
    expect(await second(path)).toEqual([...bytes.subarray(12)].map((v) => Math.fround(v / 255)))
  })

  it('has its wrong scale or normalisation named', async () => {
    const scaled = (f: (v: number) => number): string =>
      npzOf({ ...good, 'images.npy': npy('<f4', '(2, 3, 2, 2)', bytesOf(images.map(f))) })
    await expect(openDataset(scaled((v) => v * 255))).rejects.toThrow(/leaves \[0,1\].*Divide the images by 255/)
    await expect(openDataset(scaled((v) => (v - 0.5) / 0.2))).rejects.toThrow(/Undo the normalisation/)
  })

  it('keeps values that rounding moved off the border by a millionth', async () => {
    const moved = images.map((_, i) => (i % 2 === 0 ? 1.0000001 : -1e-7))
    expect(await second(npzOf({ ...good, 'images.npy': npy('<f4', '(2, 3, 2, 2)', bytesOf(moved)) }))).toEqual(
      Array.from({ length: 12 }, (_, i) => (i % 2 === 0 ? 1 : 0)),
    )
  })

  it.each<[string, Record<string, Uint8Array>, RegExp]>([
    ['channels last', { 'images.npy': npy('<f4', '(2, 4, 2, 3)', new Uint8Array(192)) }, /transpose\(0, 3, 1, 2\)/],
    ['one image without a batch', { 'images.npy': npy('<f4', '(3, 2, 2)', new Uint8Array(48)) }, /\[N,C,H,W\].*3,2,2/],
    [
      'column-major order',
      { 'images.npy': npy('<f4', '(2, 3, 2, 2)', new Uint8Array(96), 'True') },
      /ascontiguousarray/,
    ],
    ['big-endian numbers', { 'images.npy': npy('>f4', '(2, 3, 2, 2)', new Uint8Array(96)) }, />f4/],
    ['pickled objects', { 'labels.npy': npy('|O', '(2,)', new Uint8Array(16)) }, /\|O/],
    [
      'an array shorter than its shape',
      { 'images.npy': npy('<f4', '(9, 3, 2, 2)', bytesOf(images)) },
      /96 bytes where/,
    ],
    ['no .npy file', { 'images.npy': Buffer.from('text') }, /no .npy array/],
    ['float labels', { 'labels.npy': npy('<f4', '(2,)', new Uint8Array(8)) }, /'labels'.*integers.*float32/],
    ['one-hot labels', { 'labels.npy': npy('<i4', '(2, 2)', new Uint8Array(16)) }, /one-hot/],
    ['too few labels', { 'labels.npy': npy('<i4', '(1,)', new Uint8Array(4)) }, /one label per image/],
    [
      'a negative label',
      { 'labels.npy': npy('<i4', '(2,)', bytesOf(Int32Array.of(0, -1))) },
      /#1.*no class number.*-1/,
    ],
  ])('with %s is refused with the reason', async (_name, change, words) => {
    await expect(openDataset(npzOf({ ...good, ...change }))).rejects.toThrow(words)
  })

  it('that is cut off is refused', async () => {
    const path = npzOf(good)
    writeFileSync(path, readFileSync(path).subarray(0, 300))
    await expect(openDataset(path)).rejects.toMatchObject({ code: 'DATA_INVALID' })
  })

  it('of float images is not resized', async () => {
    await expect(openDataset(npzOf(good), { resize: 4 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('has the headers and checksums of the format', async () => {
    const path = join(scratch(), 'x.npz')
    const array: Tensor = { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) }
    await writeNpz(path, { success: array })
    const bytes = readFileSync(path)
    const start = bytes.indexOf('\x93NUMPY', 0, 'latin1')
    const header = bytes.subarray(start + 10, start + 10 + bytes.readUInt16LE(start + 8)).toString('latin1')
    expect(header.trim()).toBe("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }")
    expect((10 + header.length) % 64).toBe(0)
  })
})
