// What must hold of regions. In: a graph, its regions, and the step of fusion that made them. Out: nothing, or an InternalError
// that names the step and the rule. On in the tests after every step.
import { InternalError } from "../diagnostics/report.ts";
import { asConst } from "../dims/dim.ts";
import { attrsHaveSymbols } from "../ir/build.ts";
import type { Graph, Node, Value } from "../ir/types.ts";
import type { Fused, Region } from "./region.ts";

const nameOf = (n: Node): string => `${n.op.name}#${n.id}`;

/** What holds after every step, while some nodes are in no region yet. */
export function verifyRegions(graph: Graph, regions: readonly Region[], step: string): void {
  const fail = (what: string): never => {
    throw new InternalError(step, `${graph.name}: ${what}`);
  };
  const known = new Set(graph.nodes);
  const stored = new Map<Value, Region>();
  const ahead = preparable(graph);
  for (const g of regions) {
    const region = `the ${g.kind} of ${nameOf(g.anchor)}`;
    if (!g.nodes.has(g.anchor)) fail(`${region} does not compute what it grew from`);
    for (const n of g.nodes) {
      if (!known.has(n)) fail(`${region} computes ${nameOf(n)}, which is not in the graph`);
      if (n.op.fuses === "source") fail(`${region} computes the source ${nameOf(n)}`);
      if (g.derived && !ahead(n)) fail(`${region} is prepared, and ${nameOf(n)} is known at the call only`);
    }
    for (const r of g.roots) {
      if (!g.nodes.has(r.node)) fail(`${region} stores ${nameOf(r.node)}, which it does not compute`);
      if (stored.has(r)) fail(`${nameOf(r.node)} is stored twice`);
      stored.set(r, g);
    }
  }
  const circle = waitsForItself(graph, regions, stored);
  if (circle) fail(`the ${circle.kind} of ${nameOf(circle.anchor)} waits for another that waits for it`);
}

/** What holds when fusion has ended: everything that is read is there. */
export function verifyFused(fused: Fused, step: string): void {
  const { graph, groups, home, alias } = fused;
  const fail = (what: string): never => {
    throw new InternalError(step, `${graph.name}: ${what}`);
  };
  verifyRegions(graph, groups, step);
  const all = new Set(groups);
  for (const g of groups)
    for (const r of g.roots)
      if (home.get(r) !== g) fail(`${nameOf(r.node)} is not at home where it is stored`);
  for (const [v, g] of home)
    if (!all.has(g) || !g.roots.includes(v)) fail(`nobody stores ${nameOf(v.node)} where it is at home`);
  for (const { value } of [...graph.results, ...graph.writes])
    if (!home.has(alias.get(value) ?? value))
      fail(`nobody stores ${nameOf(value.node)}, which the graph gives`);
  // What a kernel computes on its way has to be an expression, and what it reads must have been stored before.
  const before = new Set<Value>();
  for (const g of groups) {
    const seen = new Set<Node>();
    const visit = (n: Node): void => {
      if (seen.has(n)) return;
      seen.add(n);
      for (const v of n.inputs) {
        const at = home.get(v);
        if (v.node.op.fuses === "source" || g.nodes.has(v.node)) {
          if (g.nodes.has(v.node)) visit(v.node);
        } else if (at) {
          if (!before.has(v)) fail(`${nameOf(g.anchor)} reads ${nameOf(v.node)} before it is stored`);
        } else if (!v.node.op.lower) fail(`${nameOf(v.node)} is no expression, and nobody stores it`);
        else visit(v.node);
      }
    };
    for (const r of g.roots) visit(r.node);
    for (const r of g.roots) before.add(r);
  }
}

/** A test for what depends on parameters and unwritten state alone, and has sizes that are known ahead. */
function preparable(graph: Graph): (n: Node) => boolean {
  const written = new Set(graph.writes.map((w) => w.path));
  const memo = new Map<Node, boolean>();
  for (const n of graph.nodes) {
    const fixed =
      !attrsHaveSymbols(n.attrs) && n.outs.every((v) => v.type.shape.every((d) => asConst(d) !== undefined));
    const leaf =
      n.op.name === "param" ||
      n.op.name === "constant" ||
      (n.op.name === "state" && !written.has(String(n.attrs.path)));
    const own = n.op.fuses === "source" ? leaf : n.inputs.every((v) => memo.get(v.node) === true);
    memo.set(n, fixed && own && n.op.fuses !== "control");
  }
  return (n) => memo.get(n) === true;
}

/**
 * Two regions that wait for each other. A value that nobody stores is computed by each that reads it, so that a region which
 * reads its own values through such ones waits for nobody.
 */
function waitsForItself(
  graph: Graph,
  regions: readonly Region[],
  stored: ReadonlyMap<Value, Region>,
): Region | undefined {
  type Unit = Region | Node;
  const unitOf = (v: Value): Unit => stored.get(v) ?? v.node;
  const needs = (u: Unit): Unit[] =>
    "nodes" in u
      ? [...u.nodes].flatMap((n) => n.inputs.filter((v) => !u.nodes.has(v.node)).map(unitOf))
      : u.inputs.map(unitOf);
  // Strongly connected components (Tarjan); by hand, not by recursion: graphs are deeper than the stack.
  const number = new Map<Unit, number>();
  const low = new Map<Unit, number>();
  const open = new Set<Unit>();
  const path: Unit[] = [];
  for (const start of [...regions, ...graph.nodes]) {
    if (number.has(start)) continue;
    const stack: { unit: Unit; left: Unit[] }[] = [];
    const enter = (unit: Unit): void => {
      number.set(unit, number.size);
      low.set(unit, number.size - 1);
      open.add(unit);
      path.push(unit);
      stack.push({ unit, left: needs(unit) });
    };
    const lower = (unit: Unit, to: number): void => void low.set(unit, Math.min(low.get(unit) as number, to));
    enter(start);
    while (stack.length > 0) {
      const { unit, left } = stack[stack.length - 1];
      const next = left.pop();
      if (next) {
        if (!number.has(next)) enter(next);
        else if (open.has(next)) lower(unit, number.get(next) as number);
        continue;
      }
      stack.pop();
      const above = stack.at(-1);
      if (above) lower(above.unit, low.get(unit) as number);
      if (low.get(unit) !== number.get(unit)) continue;
      const component: Unit[] = [];
      for (let u = path.pop(); u; u = path.pop()) {
        open.delete(u);
        component.push(u);
        if (u === unit) break;
      }
      const together = component.filter((u) => "nodes" in u);
      if (together.length > 1) return together[0];
    }
  }
  return undefined;
}
