// The runtime: what a module inlines, and the package export `mdlc/runtime`.
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
export { load } from "./load.ts";
export type { Net } from "./net.ts";
export type * from "./program.ts";
