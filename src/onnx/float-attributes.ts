/**
 * The standard's attributes that are floats, so that `alpha: 1` is not written as an integer. Read off onnx.defs of opset 26:
 * a name is float in all operators or in none, but for the `seed` of Dropout.
 */
const floatNames = new Set([
  'activation_alpha',
  'activation_beta',
  'alpha',
  'beta',
  'bias',
  'clip',
  'cubic_coeff_a',
  'epsilon',
  'extrapolation_value',
  'gamma',
  'high',
  'lambd',
  'low',
  'mean',
  'momentum',
  'scale',
  'seed',
  'softcap',
  'spatial_scale',
  'weights',
])

export function isFloatAttribute(op: string, name: string): boolean {
  return floatNames.has(name) && !(op === 'Dropout' && name === 'seed')
}
