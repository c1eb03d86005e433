export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    strides[i] = step
    step *= shape[i]
  }
  return strides
}

export const normalAxis = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)
