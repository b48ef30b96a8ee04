// Two scans over the same operands, one of which computes the other's results and more (the gradient wants the carries, too),
// are one. In: any graph. Out: the smaller one's readers read the larger one.
import { transform } from "../../ir/transform.ts";
import type { Graph, Node } from "../../ir/types.ts";
import { scan, scanAttrs } from "../../ops/scan.ts";

export function mergeScans(graph: Graph): Graph {
  const scans = graph.nodes.filter((n) => n.op === scan);
  const larger = new Map<Node, Node>();
  for (const small of scans)
    for (const big of scans) if (big !== small && covers(big, small)) larger.set(small, big);
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
    x.body.results.length > y.body.results.length &&
    x.body.nodes === y.body.nodes &&
    y.body.results.every((r, i) => r.value === x.body.results[i].value) &&
    y.axes.every((n, i) => n === x.axes[i]) &&
    y.emitAxes.every((n, i) => n === x.emitAxes[i])
  );
}
