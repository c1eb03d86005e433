/** Weight of a sample at `distance` in cubic convolution (Keys 1981) with the coefficient `a`. */
export function cubicWeight(distance: number, a: number): number {
  const d = Math.abs(distance)
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0
}
