// What a backend is: a way to write kernels for one kind of device. In: kernel code, as data. Out: its text, and the rules
// that kernels of this kind must keep. A target names its backend (targets.ts); everything between the graph and the text
// knows this interface only.
import type { KernelCode } from "../kernel/code.ts";
import type { Words } from "../kernel/names.ts";
import type { KernelLimit } from "../kernel/verify.ts";

export type AccessMode = "read" | "read_write";

export interface PrintOptions {
  /** How each of the kernel's buffers is bound, in order. */
  readonly access: readonly AccessMode[];
  /** Lines for whoever reads the text; a minified one has none. */
  readonly notes?: readonly string[];
  /** The shortest text of the same program, for whoever loads it; such texts of similar kernels are alike. */
  readonly minify?: boolean;
}

export interface PrintedKernel {
  readonly text: string;
  /** Optional features of the device that the text asks for. */
  readonly features: readonly string[];
  /** What the text calls the code's overrides, in order. */
  readonly overrides: readonly string[];
}

/** What every kernel of a backend keeps to: the planner places and binds by it, the verifier looks. */
export interface Rules {
  /** Ranges of buffers begin at multiples of so many bytes. */
  readonly alignment: number;
  /** What every device allows; a target's `requires.limits` may ask for more. */
  readonly limits: Readonly<Record<KernelLimit, number>>;
  /** Bytes of one number in memory that a workgroup shares. */
  readonly bytesOf: (dtype: KernelCode["shared"][number]["dtype"]) => number;
  /** How the ranges of one dispatch are bound, from where each lies and whether the kernel writes it. */
  readonly access: (ranges: readonly { readonly buffer: string; readonly writes: boolean }[]) => AccessMode[];
}

export interface Backend {
  readonly name: string;
  /** What names in kernels may be. */
  readonly words: Words;
  readonly rules: Rules;
  readonly print: (code: KernelCode, options: PrintOptions) => PrintedKernel;
}
