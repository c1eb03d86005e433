/** 0.01568… → `4/255`; radii that are no multiple of 1/255 stay decimal. */
export function epsLabel(eps: number): string {
  const steps = eps * 255
  return Math.abs(steps - Math.round(steps)) < 1e-4 && steps > 0.5
    ? `${Math.round(steps)}/255`
    : String(Number(eps.toPrecision(6)))
}
