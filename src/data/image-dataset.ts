import { DataError } from '../errors/index.js'
import type { Dataset } from './dataset.js'
import { fixedSize, type Geometry, place } from './geometry.js'
import { type Pixels, pixelsToPlanes, toGrey, toRgb } from './pixels.js'
import { resample } from './resample.js'
import { checkImageShape, type ExpectedShape } from './shape.js'

/** Where 8-bit images come from; the geometry is applied to what it loads. */
export interface ImageSource {
  readonly name: string
  readonly classes: readonly string[]
  readonly labels: Int32Array
  file(index: number): string
  load(index: number): Promise<Pixels>
  close(): Promise<void>
}

/**
 * A data set of 8-bit images, resized and cropped as they are read.
 * @param expected what the model takes; its channels decide between grey and RGB (default 3)
 * @throws DataError DATA_INVALID if the images do not come out in the expected size
 */
export async function imageDataset(source: ImageSource, geometry: Geometry, expected: ExpectedShape): Promise<Dataset> {
  const channels = expected[0] ?? 3
  if (channels !== 1 && channels !== 3)
    throw new DataError('DATA_INVALID', 'image files are grey or RGB', {
      subject: source.name,
      expected: `${channels} channels for the model`,
      found: '1 or 3 channels',
      cure: 'Give the images as .npz with `images` of shape [N,C,H,W]',
    })
  const size = fixedSize(geometry) ?? (await firstSize(source, geometry))
  const imageShape = [channels, ...size] as const
  checkImageShape(source.labels.length > 0 ? source.file(0) : source.name, imageShape, expected)
  return {
    name: source.name,
    length: source.labels.length,
    classes: source.classes,
    labels: source.labels,
    imageShape,
    file: (index) => source.file(index),
    close: () => source.close(),
    [Symbol.asyncDispose]: () => source.close(),
    async read(index, out) {
      const decoded = await source.load(index)
      const placement = place(decoded.height, decoded.width, geometry)
      const [height, width] = placement.size
      if (height !== size[0] || width !== size[1])
        throw new DataError('DATA_INVALID', 'the images differ in size', {
          subject: source.file(index),
          expected: `${size[0]}x${size[1]} (height x width)`,
          found: `${height}x${width}`,
          cure: `Bring them to one size with --resize ${size[0]} --crop ${size[0]}, or --resize ${size[0]}x${size[1]}`,
        })
      const window = await resample(decoded, placement, geometry.interpolation ?? 'bilinear')
      const pixels = channels === 1 ? toGrey(window) : toRgb(window)
      if (pixels.height !== height || pixels.width !== width) out.fill(0)
      pixelsToPlanes(pixels, out, height, width, Math.max(0, -placement.top), Math.max(0, -placement.left))
    },
  }
}

async function firstSize(source: ImageSource, geometry: Geometry) {
  const { height, width } = await source.load(0)
  return place(height, width, geometry).size
}
