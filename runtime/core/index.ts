// The runtime: what a module with training steps inlines, and the package export `mdlc/runtime`.
import type * as api from "./api.ts";
import { loadWith } from "./load.ts";
import type { Net } from "./net.ts";
import type { Artefact, Packed } from "./program.ts";
import { trainPiece } from "./train.ts";

export type {
  Booleans,
  CallOptions,
  Gpu,
  GpuBuffer,
  GpuDevice,
  Ignored,
  Input,
  LoadOptions,
  Memory,
  NetBase,
  Numbers,
  Parameter,
  Profile,
  Progress,
  Snapshot,
  StepOptions,
  StepResult,
  TypedArrays,
  Weights,
  WeightsOptions,
} from "./api.ts";
export * from "./exports.ts";
export type { Net } from "./net.ts";
export type * from "./program.ts";

/** Opens a model: device, pipelines, weights. Nothing is compiled after it resolves. */
export const load = (artefact: Artefact | Packed, options?: api.LoadOptions): Promise<Net> =>
  loadWith(artefact, options, { train: trainPiece });
