// What a hand-written kernel is, as data; systems/hand.ts runs it.
import type { Results } from "../reference.ts";

export interface HandKernel {
  readonly label: string;
  /** WGSL with one entry point, `main`: binding 0 is the sizes, then inputs, constants and the output follow. */
  readonly text: string;
  readonly size: readonly number[];
  /** Uploaded at every call, as they come. */
  readonly inputs: readonly Float32Array[];
  /** Uploaded once. */
  readonly constants: readonly Float32Array[];
  readonly outputBytes: number;
  readonly grid: readonly [number, number];
  /** The output as the workload's reference has it. */
  result(output: Float32Array): Results;
}
