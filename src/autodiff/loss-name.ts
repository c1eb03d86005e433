/**
 * Per-sample losses of logits, in float32. Each is maximised by an attack; targeted forms are minimised towards the target.
 * `cross-entropy` log-sum-exp form; `margin` max_{i≠y} z_i − z_y (Carlini & Wagner 2017); `dlr` Croce & Hein 2020, eq. 6 (needs 3
 * classes), targeted eq. 7 (needs 4).
 */
export type LossName = (typeof lossNames)[number]

export const lossNames = ['cross-entropy', 'margin', 'dlr'] as const
