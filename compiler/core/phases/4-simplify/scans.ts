// Two scans over the same operands, one of which computes the other's results and perhaps more (the gradient wants the
// carries, too), are one. In: any graph. Out: the smaller one's readers read the larger one. Bodies are compared as they
// are, node by node: one traced twice, or read from a text, is as good as one that is shared.
import { startsAlike } from "../../ir/alike.ts";
import { transform } from "../../ir/transform.ts";
import type { Graph, Node } from "../../ir/types.ts";
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
