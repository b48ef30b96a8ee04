// What is one kernel, as data. Fusion makes regions, step by step; every later phase reads them.
import { typeText } from "../ir/build.ts";
import type { Graph, Node, Value } from "../ir/types.ts";

export type RegionKind = "map" | "rows" | "contraction" | "pack" | "control" | "claimed";

export interface Region {
  readonly id: number;
  readonly kind: RegionKind;
  /** The nodes computed here and nowhere else (inlined nodes may appear in several kernels and are not listed). */
  readonly nodes: ReadonlySet<Node>;
  /** Values it stores. */
  readonly roots: readonly Value[];
  /** What it grew from: it names the region, and says what a row is. */
  readonly anchor: Node;
  /** Of a region of rows: which axes of each root number its row. */
  readonly rows?: ReadonlyMap<Value, readonly number[]>;
  /** Depends on parameters and unwritten state only: belongs to `prepare`. */
  readonly derived: boolean;
}

export interface Fused {
  readonly graph: Graph;
  /** In an order that computes before it reads. */
  readonly groups: readonly Region[];
  /** The region that stores each materialised value. */
  readonly home: ReadonlyMap<Value, Region>;
  /** Sinks that are a materialised value seen through order-keeping views. */
  readonly alias: ReadonlyMap<Value, Value>;
}

/** Whether a graph writes what outlives it, as a training step does: families choose otherwise for those. */
export const trains = ({ graph }: Fused): boolean => graph.writes.length > 0;

/**
 * True where a region's kernel finds a value in a buffer. What a region computes it computes itself, even where it is stored,
 * too, by another kernel.
 */
export function isStoredFor(home: ReadonlyMap<Value, Region>, g: Region | undefined, v: Value): boolean {
  const { op } = v.node;
  if (op.fuses === "source" || !op.lower) return !g?.nodes.has(v.node);
  const at = home.get(v);
  return at !== undefined && at !== g && !g?.nodes.has(v.node);
}

/** One line a region: what it computes and stores. `note` says more of a stored value (how it lies). */
export function printRegions(
  graph: Graph,
  regions: readonly Region[],
  note: (v: Value) => string = () => "",
): string[] {
  const names = new Map(graph.nodes.map((n, k) => [n, k]));
  return regions.map((g) => {
    const members = [...g.nodes]
      .sort((a, b) => a.id - b.id)
      .map((n) => `%${names.get(n) ?? "copy"} ${n.op.name}`);
    const stores = g.roots.map((r) => `${r.node.label ?? r.node.op.name}: ${typeText(r.type)}${note(r)}`);
    return `${g.derived ? "prepare " : ""}${g.kind} { ${members.join("; ")} } -> ${stores.join(", ")}`;
  });
}
