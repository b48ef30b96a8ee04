// Where what lives for good lies: parameters, state and literals, in flat buffers of their own. In: a checked model, and
// what its training steps keep. Out: byte ranges by path, shared by all programs.
import type { Artefact, BufferName, TensorSpec } from "../../../../runtime/core/program.ts";
import { InternalError } from "../../diagnostics/report.ts";
import { asConst } from "../../dims/dim.ts";
import { bytesPer, type Data, dataBytes } from "../../ir/data.ts";
import type { DType, Node } from "../../ir/types.ts";
import type { CheckedModel } from "../../model.ts";
import {
  type FlatParams,
  type ParamUse,
  type Rows,
  rangesOf,
  trainedAlike,
  trainingOrder,
} from "../../ops/flat.ts";
import { GRAIN, PARAMS } from "../../ops/source.ts";
import type { BufferRun, StepState } from "../3-grad/step.ts";

/** A byte range. */
export interface Place {
  readonly offset: number;
  readonly bytes: number;
}

/** They lie the same in all programs: what the strictest backend asks for. */
const ALIGN = 256;
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

interface Named {
  readonly path: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}
/** Places named tensors one after the other, each at a multiple of 256 bytes. */
function placeAll(list: readonly Named[]): { places: Map<string, Place>; total: number } {
  const places = new Map<string, Place>();
  let total = 0;
  for (const t of list) {
    const bytes = t.shape.reduce((a, b) => a * b, 1) * bytesPer(t.dtype);
    places.set(t.path, { offset: total, bytes });
    total += aligned(bytes);
  }
  return { places, total };
}

export interface ParamPlaces {
  readonly places: ReadonlyMap<string, Place>;
  /** The tensors that each training step updates, by its block's name. */
  readonly flats: ReadonlyMap<string, readonly FlatParams[]>;
  readonly bytes: number;
}
/**
 * Parameters by dtype, and within one by what trains them: those of one float dtype that a step trains are a flat tensor,
 * as long as its reduction in two steps wants. The order of a model that trains all of them alike is the author's.
 */
export function placeParams(params: CheckedModel["params"], uses: readonly ParamUse[]): ParamPlaces {
  const places = new Map<string, Place>();
  const flats = new Map<string, FlatParams[]>(uses.map((u) => [u.block, []]));
  const grain = GRAIN * ALIGN;
  let bytes = 0;
  const place = (p: CheckedModel["params"][number]): void => {
    const size = p.shape.reduce((a, b) => a * b, 1) * bytesPer(p.dtype);
    places.set(p.path, { offset: bytes, bytes: size });
    bytes += aligned(size);
  };
  for (const dtype of ["f32", "f16"] as const) {
    const list = trainingOrder(
      params.filter((p) => p.dtype === dtype),
      uses,
    );
    if (list.length === 0) continue;
    const start = bytes;
    const apart = (): void => {
      bytes = start + Math.ceil((bytes - start) / grain) * grain;
    };
    list.forEach((p, i) => {
      if (i > 0 && trainedAlike(p.path, uses) !== trainedAlike(list[i - 1].path, uses)) apart();
      place(p);
    });
    apart();
    const whole = { offset: start, bytes: bytes - start };
    for (const use of uses) flats.get(use.block)?.push(...flatsOf(dtype, list, places, whole, use));
  }
  for (const p of params) if (p.dtype !== "f32" && p.dtype !== "f16") place(p);
  for (const list of flats.values()) for (const f of list) places.set(f.path, f.place);
  return { places, flats, bytes: Math.max(ALIGN, bytes) };
}

/**
 * What each rule of a step trains of a dtype, from the first to the last of it. Where a block has several rules, a rule's
 * tensor ends where another's parameters lie: no two of them overlap, since each is written as a whole.
 */
function flatsOf(
  dtype: FlatParams["dtype"],
  list: CheckedModel["params"],
  places: ReadonlyMap<string, Place>,
  whole: Place,
  { trained }: ParamUse,
): FlatParams[] {
  const runs: { readonly rule: number; readonly own: CheckedModel["params"][number][] }[] = [];
  for (const p of list) {
    const rule = trained.get(p.path)?.rule;
    if (rule === undefined) continue;
    if (runs.at(-1)?.rule === rule) runs.at(-1)?.own.push(p);
    else runs.push({ rule, own: [p] });
  }
  return runs.map(({ rule, own }, i) => {
    const again = runs.slice(0, i).filter((r) => r.rule === rule).length;
    const parts = [dtype === "f32" ? "" : dtype, rule || again ? `${rule}` : "", again ? `${again}` : ""];
    const suffix = parts.map((p) => p && `.${p}`).join("");
    return flatOf(dtype, list, places, whole, trained, own, rule, suffix);
  });
}

function flatOf(
  dtype: FlatParams["dtype"],
  list: CheckedModel["params"],
  places: ReadonlyMap<string, Place>,
  whole: Place,
  trained: ParamUse["trained"],
  own: CheckedModel["params"],
  rule: number,
  suffix: string,
): FlatParams {
  const size = bytesPer(dtype);
  const at = (p: { readonly path: string }): Place => places.get(p.path) as Place;
  const grain = GRAIN * ALIGN;
  const from = whole.offset + Math.floor((at(own[0]).offset - whole.offset) / grain) * grain;
  const last = at(own[own.length - 1]);
  const end = from + Math.ceil((last.offset + last.bytes - from) / grain) * grain;
  const rows = (p: { readonly path: string }): Rows => {
    const { offset, bytes } = at(p);
    return [(offset - from) / ALIGN, (offset - from + aligned(bytes)) / ALIGN];
  };
  const span = list
    .filter((p) => at(p).offset >= from && at(p).offset < end)
    .map((p) => ({ path: p.path, rows: rows(p) }));
  const ours = span.filter((p) => trained.has(p.path));
  const groups = Math.max(...ours.map((p) => trained.get(p.path)?.group ?? 0)) + 1;
  const prefix = dtype === "f32" ? PARAMS : `${PARAMS}.${dtype}`;
  const all = from === whole.offset && end === whole.offset + whole.bytes;
  return {
    dtype,
    row: ALIGN / size,
    path: all ? prefix : `${prefix}.${(from - whole.offset) / size}.${(end - from) / size}`,
    place: { offset: from, bytes: end - from },
    total: (end - from) / size,
    offsets: new Map(span.map((p) => [p.path, (at(p).offset - from) / size])),
    rule,
    suffix,
    groups: Array.from({ length: groups }, (_, g) => rangesOf(ours, (p) => trained.get(p.path)?.group === g)),
    trained: rangesOf(span, (p) => trained.has(p.path)),
  };
}

/** Offsets of the author's buffers: they come first in the state, so they are known before the optimisers' are. */
export const placeBuffers = (buffers: CheckedModel["buffers"]): ReadonlyMap<string, number> =>
  new Map([...placeAll(buffers).places].map(([path, at]) => [path, at.offset]));

type Stored = Omit<TensorSpec, "offset" | "bytes">;

export interface StatePlaces {
  readonly tensors: readonly TensorSpec[];
  readonly places: ReadonlyMap<string, Place>;
  readonly bytes: number;
}
/** The author's buffers, then what training steps keep; runs are several of the former at once. */
export function placeState(
  buffers: CheckedModel["buffers"],
  kept: readonly StepState[],
  runs: readonly BufferRun[],
): StatePlaces {
  const list: Stored[] = [
    ...buffers.map((b) => ({ ...b, role: b.internal ? ("internal" as const) : ("buffer" as const) })),
    ...kept.map((s) => ({ ...s, aliases: [] as string[], role: "internal" as const, frozen: false })),
  ];
  const { places, total } = placeAll(list);
  for (const r of runs) places.set(r.path, { offset: r.offset, bytes: 4 * r.total });
  return { tensors: tensorSpecs(list, places), places, bytes: total };
}
export const paramSpecs = (params: CheckedModel["params"], places: ReadonlyMap<string, Place>) =>
  tensorSpecs(
    params.map((p) => ({ ...p, role: "param" as const })),
    places,
  );
function tensorSpecs(list: readonly Stored[], places: ReadonlyMap<string, Place>): TensorSpec[] {
  return list.map((t) => {
    const at = places.get(t.path);
    if (!at) throw new InternalError("plan", `${t.path} has no place`);
    return {
      path: t.path,
      aliases: t.aliases,
      dtype: t.dtype,
      shape: t.shape,
      offset: at.offset,
      bytes: at.bytes,
      init: t.init,
      ...(t.frozen ? { frozen: true } : {}),
      role: t.role,
    };
  });
}

/** Literal tensors, equal ones once. */
export class ConstantTable {
  bytes = 0;
  private readonly parts: { bytes: Uint8Array; offset: number }[] = [];
  private readonly known = new Map<Data, Place>();

  /** `first`: what has a place in every program, whether one needs it or not. */
  constructor(first: readonly Data[]) {
    for (const data of first) this.place(data);
  }
  place(data: Data): Place {
    let at = this.known.get(data);
    if (!at) {
      const bytes = dataBytes(data);
      at = { offset: this.bytes, bytes: bytes.byteLength };
      this.parts.push({ bytes, offset: this.bytes });
      this.bytes += aligned(bytes.byteLength);
      this.known.set(data, at);
    }
    return at;
  }
  /** All of them in base 64, but for zeros at the end: buffers begin as zeros. */
  text(): Artefact["constants"] {
    const whole = new Uint8Array(this.bytes);
    for (const p of this.parts) whole.set(p.bytes, p.offset);
    const last = whole.findLastIndex((byte) => byte !== 0);
    if (last < 0) return undefined;
    const all = whole.subarray(0, Math.ceil((last + 1) / 4) * 4);
    let text = "";
    for (let i = 0; i < all.length; i += 0x8000) text += String.fromCharCode(...all.subarray(i, i + 0x8000));
    return (globalThis as unknown as { btoa(text: string): string }).btoa(text);
  }
}

/** All that has a place for good. */
export class Places {
  readonly params: ReadonlyMap<string, Place>;
  readonly state: ReadonlyMap<string, Place>;
  private readonly constants: ConstantTable;
  private readonly members: ReadonlyMap<string, readonly string[]>;

  constructor(
    params: ReadonlyMap<string, Place>,
    state: ReadonlyMap<string, Place>,
    constants: ConstantTable,
    runs: readonly BufferRun[],
  ) {
    this.params = params;
    this.state = state;
    this.constants = constants;
    this.members = new Map(runs.map((r) => [r.path, r.members.map((m) => m.path)]));
  }
  /** The place of a leaf; undefined for what lives during a call. */
  of(n: Node): { readonly buffer: BufferName; readonly place: Place } | undefined {
    if (n.op.name === "constant")
      return { buffer: "constants", place: this.constants.place(n.attrs.data as Data) };
    if (n.op.name !== "param" && n.op.name !== "state") return undefined;
    const buffer = n.op.name === "param" ? "params" : "state";
    const path = String(n.attrs.path);
    const place = this[buffer].get(path);
    if (!place) throw new InternalError("plan", `${n.op.name} ${path} has no place`);
    if (n.attrs.from === undefined) return { buffer, place };
    const [{ type }] = n.outs;
    const [rows, ...row] = type.shape.map((d) => asConst(d) as number);
    const bytes = row.reduce((a, b) => a * b, 1) * bytesPer(type.dtype);
    return { buffer, place: { offset: place.offset + Number(n.attrs.from) * bytes, bytes: rows * bytes } };
  }
  /** Where a write goes. */
  written(path: string): { readonly buffer: BufferName; readonly place: Place } {
    const param = this.params.get(path);
    const place = param ?? this.state.get(path);
    if (!place) throw new InternalError("plan", `a write to unknown state ${path}`);
    return { buffer: param ? "params" : "state", place };
  }
  /** The buffers that a path stands for. */
  buffersOf(path: string): readonly string[] {
    return this.members.get(path) ?? [path];
  }
}
