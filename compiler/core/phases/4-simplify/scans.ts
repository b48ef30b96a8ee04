// Two scans over the same operands, one of which computes the other's results and perhaps more (the gradient wants the
// carries, too), are one. In: any graph. Out: the smaller one's readers read the larger one. Bodies are compared as they
// are, node by node: one traced twice, or read from a text, is as good as one that is shared.
import { attrText, isGraph, sameType } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Attr, Graph, Node, Value } from "../../ir/types.ts";
import { scan, scanAttrs } from "../../ops/scan.ts";

export function mergeScans(graph: Graph): Graph {
  // The one with the most results first, of equals the one that comes first.
  const size = (n: Node): number => scanAttrs(n.attrs).body.results.length;
  const scans = graph.nodes.filter((n) => n.op === scan).sort((a, b) => size(b) - size(a));
  const larger = new Map<Node, Node>();
  scans.forEach((small, i) => {
    const big = scans.slice(0, i).find((n) => !larger.has(n) && covers(n, small));
    if (big) larger.set(small, big);
  });
  if (larger.size === 0) return graph;
  return transform(graph, (b, n, inputs) => {
    const big = larger.get(n);
    return big && b.node(scan, inputs, big.attrs, n.label).slice(0, n.outs.length);
  }).graph;
}

/** Same operands, same loop, and the small one's results come first. */
function covers(big: Node, small: Node): boolean {
  if (big.inputs.length !== small.inputs.length || big.inputs.some((v, i) => v !== small.inputs[i]))
    return false;
  const [x, y] = [scanAttrs(big.attrs), scanAttrs(small.attrs)];
  return (
    x.xs === y.xs &&
    x.carries === y.carries &&
    x.reverse === y.reverse &&
    y.axes.every((n, i) => n === x.axes[i]) &&
    y.emitAxes.every((n, i) => n === x.emitAxes[i]) &&
    startsAlike(x.body, y.body)
  );
}

/** The same nodes, and the small one's results are the first of the big one's. */
function startsAlike(big: Graph, small: Graph): boolean {
  if (big.nodes.length !== small.nodes.length) return false;
  const place = new Map<Value, string>();
  const number = (g: Graph): void =>
    g.nodes.forEach((n, i) => {
      for (const v of n.outs) place.set(v, `${i}.${v.index}`);
    });
  number(big);
  number(small);
  const same = (v: Value, w: Value): boolean => place.get(v) === place.get(w);
  return (
    small.results.every((r, i) => same(r.value, big.results[i].value)) &&
    small.nodes.every((n, i) => {
      const m = big.nodes[i];
      return (
        n === m ||
        (n.op === m.op &&
          n.inputs.length === m.inputs.length &&
          n.inputs.every((v, k) => same(v, m.inputs[k])) &&
          n.outs.every((v, k) => sameType(v.type, m.outs[k].type)) &&
          sameAttrs(n, m))
      );
    })
  );
}
function sameAttrs(n: Node, m: Node): boolean {
  const names = new Set([...Object.keys(n.attrs), ...Object.keys(m.attrs)]);
  const same = (a: Attr, b: Attr): boolean =>
    isGraph(a) && isGraph(b)
      ? a === b || (a.results.length === b.results.length && startsAlike(a, b))
      : attrText(a) === attrText(b);
  return [...names].every((name) => same(n.attrs[name], m.attrs[name]));
}
