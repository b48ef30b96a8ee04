// What every module exports beside `load`: the classes a user may want to compare errors and tensors with.
export {
  DeviceLostError,
  DisposedError,
  GpuError,
  InputError,
  LimitError,
  MdlRuntimeError,
  NonFiniteError,
  UnsupportedError,
  WeightsError,
} from "./errors.ts";
export { Tensor } from "./tensor.ts";
