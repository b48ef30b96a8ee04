// Whether two graphs say the same, node by node. In: graphs that were made apart (traced twice, simplified for two targets, read
// from a text). Out: an answer; origins and ids do not count.
import { attrText, isGraph, sameType } from "./build.ts";
import type { Attr, Graph, Node, Value } from "./types.ts";

/** The same computation under the same names: kernels are called alike, too. */
export function sameGraph(a: Graph, b: Graph): boolean {
  if (a === b) return true;
  const place = placesOf(a, b);
  const sinks = (g: Graph): string =>
    JSON.stringify([
      g.symbols,
      g.results.map((r) => [r.name, place.get(r.value)]),
      g.writes.map((w) => [w.path, place.get(w.value)]),
      g.constraints.map((c) => [c.left.key, c.relation, c.right.key, c.message]),
    ]);
  return a.nodes.length === b.nodes.length && sinks(a) === sinks(b) && sameNodes(a, b, place, true);
}

/** The same nodes, whatever they are called, and the results of `small` are the first of those of `big`. */
export function startsAlike(big: Graph, small: Graph): boolean {
  if (big.nodes.length !== small.nodes.length || big.results.length < small.results.length) return false;
  const place = placesOf(big, small);
  return (
    small.results.every((r, i) => place.get(r.value) === place.get(big.results[i].value)) &&
    sameNodes(big, small, place, false)
  );
}

function placesOf(...graphs: readonly Graph[]): ReadonlyMap<Value, string> {
  const place = new Map<Value, string>();
  for (const g of graphs)
    g.nodes.forEach((n, i) => {
      for (const v of n.outs) place.set(v, `${i}.${v.index}`);
    });
  return place;
}
function sameNodes(a: Graph, b: Graph, place: ReadonlyMap<Value, string>, labels: boolean): boolean {
  const same = (v: Value, w: Value): boolean => place.get(v) === place.get(w);
  return a.nodes.every((n, i) => {
    const m = b.nodes[i];
    return (
      n === m ||
      (n.op === m.op &&
        (!labels || n.label === m.label) &&
        n.inputs.length === m.inputs.length &&
        n.inputs.every((v, k) => same(v, m.inputs[k])) &&
        n.outs.length === m.outs.length &&
        n.outs.every((v, k) => sameType(v.type, m.outs[k].type)) &&
        sameAttrs(n, m, labels))
    );
  });
}
function sameAttrs(n: Node, m: Node, labels: boolean): boolean {
  if (n.attrs === m.attrs) return true;
  const names = new Set([...Object.keys(n.attrs), ...Object.keys(m.attrs)]);
  const body = (a: Graph, b: Graph): boolean =>
    labels ? sameGraph(a, b) : a.results.length === b.results.length && startsAlike(a, b);
  const same = (a: Attr, b: Attr): boolean =>
    a === b || (isGraph(a) && isGraph(b) ? body(a, b) : attrText(a) === attrText(b));
  return [...names].every((name) => same(n.attrs[name], m.attrs[name]));
}
