import type { Step } from './step.js'

/** Renamed operators and attribute values, and defaults that changed: the old default is written out. */
export const defaults: readonly Step[] = [
  {
    since: 9,
    ops: ['Scan'],
    rewrite(node, context) {
      throw context.refuse(node, 'the batched Scan of opset 8', 'Export the model again at opset 9 or newer.')
    },
  },
  { since: 11, ops: ['Scatter'], rewrite: (node) => ({ ...node, op: 'ScatterElements' }) },
  {
    // "output_half_pixel" is the name the standard gave to what RoiAlign did before it could choose.
    since: 16,
    ops: ['RoiAlign'],
    rewrite: (node) => ({
      ...node,
      attributes: { coordinate_transformation_mode: 'output_half_pixel', ...node.attributes },
    }),
  },
  {
    since: 18,
    ops: ['Split'],
    rewrite: (node) =>
      node.inputs[1] ? node : { ...node, attributes: { ...node.attributes, num_outputs: node.outputs.length } },
  },
  {
    since: 20,
    ops: ['GridSample'],
    rewrite(node) {
      const { mode = 'bilinear' } = node.attributes
      const renamed: Record<string, string> = { bilinear: 'linear', bicubic: 'cubic' }
      return { ...node, attributes: { ...node.attributes, mode: renamed[String(mode)] ?? mode } }
    },
  },
]
