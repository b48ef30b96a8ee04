// Step: regions in an order that computes before it reads.
import { InternalError } from "../../diagnostics/index.ts";
import type { Draft, Partition } from "./partition.ts";

/** Drafts in an order that computes before it reads, keeping source order where it can. */
export function ordered(p: Partition): Draft[] {
  const groups = p.regions.filter((g) => g.nodes.size > 0 && g.roots.length > 0);
  const out: Draft[] = [];
  const state = new Map<Draft, 1 | 2>();
  const deps = new Map<Draft, Draft[]>();
  for (const g of groups) {
    const list = new Set<Draft>();
    const values =
      g.kind === "control" || g.kind === "pack" ? new Set(g.anchor.inputs) : p.readsOf(g.roots, g);
    for (const v of values) {
      const h = p.homeOf(v);
      if (h && h !== g) list.add(h);
    }
    deps.set(
      g,
      [...list].sort((a, b) => a.anchor.id - b.anchor.id),
    );
  }
  const sorted = [...groups].sort(
    (a, b) => Math.max(...a.roots.map((r) => r.node.id)) - Math.max(...b.roots.map((r) => r.node.id)),
  );
  for (const first of sorted) {
    const stack: { g: Draft; next: number }[] = [{ g: first, next: 0 }];
    if (state.get(first)) continue;
    state.set(first, 1);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const list = deps.get(top.g) ?? [];
      if (top.next < list.length) {
        const d = list[top.next++];
        const st = state.get(d);
        if (st === 1)
          throw new InternalError(
            "fuse",
            `kernels wait for each other (${top.g.anchor.op.name}, ${d.anchor.op.name})`,
          );
        if (!st) {
          state.set(d, 1);
          stack.push({ g: d, next: 0 });
        }
      } else {
        state.set(top.g, 2);
        out.push(top.g);
        stack.pop();
      }
    }
  }
  return out;
}
