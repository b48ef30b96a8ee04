// The text form of a graph: one node a line, read back by ir/parse.ts. In: a graph. Out: text.
//   %3: f32[N, 10] = add(%1, %2) {axis = 1} "logits"   // convnet.mdl:9 block1
import { attrsText, isGraph, typeText } from "./build.ts";
import type { Graph, Node, Value } from "./types.ts";

export function printGraph(g: Graph, place: (n: Node) => string = () => ""): string {
  const ids = new Map<Value, string>();
  const lines: string[] = [`graph ${g.name}(${g.symbols.join(", ")}) {`];
  let next = 0;
  const graphs: { name: string; graph: Graph }[] = [];
  const name = (v: Value): string => ids.get(v) ?? "%?";
  for (const n of g.nodes) {
    for (const v of n.outs) ids.set(v, `%${next++}`);
    const outs = n.outs.map((v) => `${name(v)}: ${typeText(v.type)}`).join(", ");
    const attrs = { ...n.attrs };
    for (const [key, graph] of Object.entries(n.attrs)) {
      if (!isGraph(graph)) continue;
      const at = `body${graphs.length}`;
      graphs.push({ name: at, graph });
      attrs[key] = `@${at}`;
    }
    const a = attrsText(attrs);
    const label = n.label ? ` ${JSON.stringify(n.label)}` : "";
    const at = [place(n), n.origin.path, ...n.origin.derived].filter(Boolean).join(" ");
    lines.push(
      `  ${outs} = ${n.op.name}(${n.inputs.map(name).join(", ")})${a ? ` {${a}}` : ""}${label}${at ? `  // ${at}` : ""}`,
    );
  }
  for (const c of g.constraints)
    lines.push(`  require ${c.left.key} ${c.relation} ${c.right.key} ${JSON.stringify(c.message)}`);
  for (const w of g.writes) lines.push(`  write ${JSON.stringify(w.path)} <- ${name(w.value)}`);
  for (const r of g.results) lines.push(`  return ${r.name} = ${name(r.value)}`);
  lines.push("}");
  for (const b of graphs) lines.push(printGraph({ ...b.graph, name: b.name }, place));
  return lines.join("\n");
}
