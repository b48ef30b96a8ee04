// Where and how values lie, decided before any kernel is made: layouts of stored values, weights copied into the layout a
// contraction likes, updates that overwrite the state they come from. In: a fused graph. Out: Laid, which schedules read.
import type { Value } from "../../ir/types.ts";
import { type Fused, printRegions, type Region } from "../../regions/region.ts";
import type { Precision } from "../../targets.ts";
import { inPlaceWrites, overfull } from "./in-place.ts";
import { chooseLayouts, type Layouts, lyingText, type Room, seenAsBytes } from "./layouts.ts";
import { isNarrowed, narrow, narrowStep } from "./storage.ts";
import { type Filter, type FilterFor, type PanelsIn, packWeights } from "./weights.ts";

export interface Laid {
  /** With the copies that packing added. */
  readonly fused: Fused;
  readonly layouts: Layouts;
  /** Stored copies in a better layout, per group that reads them. */
  readonly packed: ReadonlyMap<Region, ReadonlyMap<Value, Value>>;
  /** What a region reads in place of its filter. */
  readonly filters: ReadonlyMap<Region, Filter>;
  /** Values that are stored over the state they were computed from. */
  readonly inPlace: ReadonlyMap<Value, Value>;
  /** Groups as they run: those that overwrite come last. */
  readonly order: readonly Region[];
  /** Products may round what they read to f16: so much is lost of what is stored anyway. */
  readonly half: boolean;
  /** Paths whose update needs a binding that its kernel has not: the graph must be cut anew, without counting on them. */
  readonly overfull: readonly string[];
}

export interface LayoutOptions {
  /** Whether values of parameters alone go to a prepare program. */
  readonly derive: boolean;
  readonly maxBindings: number;
  /** What the target says of how rows lie. */
  readonly room?: Room;
  /** What may be stored as f16, by inference or (`f16` alone) by a training step. */
  readonly precision?: Precision;
  /** The filter that a region wants in another form, and how it is made. */
  readonly filterFor?: FilterFor;
  /** Panels in which products want the columns of their second factors. */
  readonly panelsIn?: PanelsIn;
}

export function layout(made: Fused, options: LayoutOptions): Laid {
  const fixed = seenAsBytes(made);
  const layouts = chooseLayouts(made, fixed, options.room);
  const precision = options.derive ? options.precision : undefined;
  const step = !options.derive && options.precision === "f16";
  // What the entry itself writes, it reads as it is.
  const written = new Set(made.graph.writes.map((w) => w.path));
  const narrowed = (v: Value): boolean => isNarrowed(v) && !written.has(String(v.node.attrs.path));
  const { groups, home, packed, filters } = packWeights(made, layouts, fixed, {
    derive: options.derive,
    copied: precision && narrowed,
    filterFor: options.filterFor,
    panelsIn: options.panelsIn,
    apart: options.room?.apart,
  });
  const fused: Fused = { ...made, groups, home };
  if (precision) narrow(fused, layouts, fixed, precision);
  if (step) narrowStep(fused, layouts, fixed);
  const { sources, order } = inPlaceWrites(fused, layouts);
  return {
    fused,
    layouts,
    packed,
    filters,
    inPlace: sources,
    order,
    half: precision === "f16" || step,
    overfull: overfull(fused, sources, options.maxBindings),
  };
}

/** Regions in the order they run, and how what they store lies. */
export function printLaid({ fused, layouts, inPlace, order }: Laid): string[] {
  const note = (v: Value): string => {
    const source = inPlace.get(v);
    const held = layouts.dtype(v) === v.type.dtype ? "" : ` as ${layouts.dtype(v)}`;
    return `${lyingText(layouts, v)}${held}${source ? ` over ${String(source.node.attrs.path)}` : ""}`;
  };
  return printRegions(fused.graph, order, note);
}
