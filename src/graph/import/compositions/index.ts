import type { Composition } from '../composition.js'
import { affineGrid } from './affine-grid.js'
import { centreCropPad } from './centre.js'
import { cumulativeProduct } from './cumulative.js'
import { deformableConvolution } from './deformable.js'
import { columnsToImage } from './fold.js'
import { fourierTransform } from './fourier.js'
import { elman, gru, lstm } from './recurrent.js'

/** Operators of the standard that are read as several simpler ones, so that they need no rule of their own. */
export const compositions: Readonly<Record<string, Composition>> = {
  AffineGrid: affineGrid,
  CenterCropPad: centreCropPad,
  Col2Im: columnsToImage,
  CumProd: cumulativeProduct,
  DeformConv: deformableConvolution,
  DFT: fourierTransform,
  GRU: gru,
  LSTM: lstm,
  RNN: elman,
}
