// The package export `mdlc/data`: data sets, splits, batches, augmentation, of bytes that are there already; runs in a browser,
// too. Files are opened by `mdlc/data/node`.
export {
  applyTransforms,
  forEvaluation,
  parseTransforms,
  type Size,
  type Transform,
} from "./augment.ts";
export {
  type Batch,
  type BatchInput,
  type BatchOptions,
  batchCount,
  batches,
  type DrawnInput,
  type InputOf,
} from "./batches.ts";
export {
  type Column,
  DataError,
  type Dataset,
  type Elements,
  fromArrays,
  ofClasses,
  subset,
} from "./dataset.ts";
export { gunzip, isGzip } from "./gzip.ts";
export { cifar, type Idx, mnist, parseIdx } from "./idx.ts";
export { type NpyArray, NpyError, parseNpy } from "./npy.ts";
export { type SplitOptions, split } from "./split.ts";
export { type TableOptions, table } from "./table.ts";
export { byteWindows, charactersOf, characterWindows, IGNORED, lines, type TextOptions } from "./text.ts";
