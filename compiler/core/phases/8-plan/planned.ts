// What the planner works on before there are offsets: stores, and steps in order.

import type { BufferName } from "../../../../runtime/core/program.ts";
import { add, type Dim, evaluateAll, mul, NOMINAL, product } from "../../dims/dim.ts";
import { bytesPer } from "../../ir/data.ts";
import type { DType, Value } from "../../ir/types.ts";
import type { Launch, Memory } from "../../kernel/launch.ts";

export const elementBytes = (v: Value, stored: DType = v.type.dtype): number => bytesPer(stored);
/** `memory`: what it takes there, where that is not what it is. */
export const bytesOf = (v: Value, memory?: Memory): Dim =>
  mul(memory?.elements ?? product(v.type.shape), elementBytes(v, memory?.dtype));

/** A byte range before offsets are known: a tenant of the arena, or a fixed place. */
export type Store =
  | { readonly kind: "arena"; readonly tenant: number; readonly at: Dim; readonly bytes: Dim }
  | { readonly kind: "fixed"; readonly buffer: BufferName; readonly at: Dim; readonly bytes: Dim };

export type Planned =
  | {
      readonly kind: "dispatch";
      readonly launch: Launch;
      readonly kernel: number;
      readonly stores: readonly Store[];
      /** Which of them it writes. */
      readonly writes: readonly boolean[];
      /** Where it came from, for people. */
      readonly site: string;
    }
  | { readonly kind: "copy"; readonly from: Store; readonly to: Store; readonly label: string }
  | { readonly kind: "clear"; readonly store: Store; readonly label: string }
  | {
      readonly kind: "loop";
      readonly symbol: string;
      readonly count: Dim;
      readonly steps: readonly Planned[];
      readonly label: string;
    };

/** What a call runs: a loop's as often as it runs, and what has workgroups at nominal sizes. */
export const dispatchesOf = (steps: readonly Planned[]): Dim =>
  add(
    ...steps.map((s) => {
      if (s.kind === "loop") return mul(s.count, dispatchesOf(s.steps));
      return s.kind === "dispatch" && evaluateAll(s.launch.groups, NOMINAL) > 0 ? 1 : 0;
    }),
  );

export const bufferOf = (s: Store): BufferName => (s.kind === "arena" ? "arena" : s.buffer);
