/** These rows of an array of rows of `per` elements; a copy. */
export function takeRows(of: Float32Array, rows: Int32Array, per: number): Float32Array {
  const out = new Float32Array(rows.length * per)
  for (const [k, i] of rows.entries()) out.set(of.subarray(i * per, (i + 1) * per), k * per)
  return out
}
