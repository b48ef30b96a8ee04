// What is one kernel. In: a graph of primitives. Out: regions in execution order, each with the values it stores; every
// other value is inlined where it is read. Regions grow from anchors (contractions, then reductions); then it is decided by
// who reads what. No operator is named here: roles come from `fuses` and from the shape of the lowered expression.
//
// The steps are the list below; each changes the partition, and each can be printed (`around`).
import type { Graph } from "../../ir/types.ts";
import type { Fused, Region } from "../../regions/region.ts";
import { claim } from "./claims.ts";
import { growContractions, sumContractions } from "./contractions.ts";
import { fitKernels } from "./fit.ts";
import { inlineOrStore, type Readings } from "./inline.ts";
import { mergeMaps } from "./merge.ts";
import { type FuseOptions, Partition } from "./partition.ts";
import { growReductions, rowsOf } from "./reductions.ts";
import { ordered } from "./sort.ts";

export type FuseStep = { readonly name: string; readonly run: (w: Work) => void };
/** What the steps work on. */
interface Work {
  readonly p: Partition;
  /** Known once it is decided what is inlined. */
  readings: Readings | undefined;
}

export const fuseSteps: readonly FuseStep[] = [
  { name: "claim", run: (w) => claim(w.p) },
  { name: "contractions", run: (w) => growContractions(w.p) },
  { name: "sum-contractions", run: (w) => sumContractions(w.p) },
  { name: "reductions", run: (w) => growReductions(w.p) },
  {
    name: "inline",
    run: (w) => {
      w.readings = inlineOrStore(w.p);
    },
  },
  { name: "fit", run: fit },
  { name: "merge", run: (w) => mergeMaps(w.p) },
  // A merged kernel reads what either read.
  { name: "fit-merged", run: fit },
];
function fit(w: Work): void {
  if (w.readings) fitKernels(w.p, w.readings);
}

export function fuse(
  graph: Graph,
  options: FuseOptions,
  around: (step: string, regions: () => readonly Region[]) => void = () => {},
): Fused {
  const p = new Partition(
    graph,
    options,
    (of, g, roots) => g.kind !== "rows" || rowsOf(of, g, roots) !== undefined,
  );
  const w: Work = { p, readings: undefined };
  for (const step of fuseSteps) {
    step.run(w);
    around(step.name, () => p.regions.filter((g) => g.nodes.size > 0));
  }
  for (const g of p.regions) if (g.kind === "rows" && g.nodes.size > 0) g.rows = rowsOf(p, g);
  return { graph, groups: ordered(p), home: p.home, alias: p.alias };
}
