/** Text made safe for HTML content and quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}

export const percent = (share: number, digits = 1): string =>
  Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : '–'

/** The ends of an interval of shares: `86.2–94.2 %`. */
export const interval = ({ low, high }: { readonly low: number; readonly high: number }): string =>
  `${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)} %`

/** 18507 → `18 507`, with a space that does not break. */
export const grouped = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, '\u202f')

/** A rate with about three digits; nothing measured gives a dash. */
export const rate = (perSecond: number): string =>
  Number.isFinite(perSecond) ? perSecond.toFixed(perSecond < 10 ? 2 : perSecond < 100 ? 1 : 0) : '–'

export const normName = (norm: 'linf' | 'l2'): string => (norm === 'linf' ? 'L∞' : 'L2')
