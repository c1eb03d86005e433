/** A radius as it is usually written, the shorter of `4/255` and `0.5`. */
export function epsLabel(eps: number): string {
  const decimal = String(Number(eps.toPrecision(6)))
  const steps = Number((eps * 255).toFixed(2))
  const fraction = `${steps}/255`
  return Math.abs(eps * 255 - steps) < 1e-4 && fraction.length < decimal.length ? fraction : decimal
}
