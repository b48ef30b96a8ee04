// The text form of a graph: one node a line, read back by ir/parse.ts. In: a graph. Out: text.
//   %3: f32[N, 10] = add(%1, %2) {axis = 1} "logits"   // block1 (gradient of linear)
// Literal tensors of more than a few elements are names there; `constantsOf` (ir/data.ts) has what they hold.
import { print as printDim } from "../dims/dim.ts";
import { attrsText, attrText, isGraph, typeText } from "./build.ts";
import { isData } from "./data.ts";
import type { Attr, Graph, IndexRange, Node, Value } from "./types.ts";

/** Elements of a literal tensor that are shown where it is. */
const SHOWN = 16;

/**
 * The graph, and behind it the graphs that its nodes hold, each once, however many hold it.
 * `place`: where a node stands in the source, for people; it is not read back.
 */
export function printGraph(g: Graph, place: (n: Node) => string = () => ""): string {
  const names = new Map<Graph, string>();
  const nameOf = (body: Graph): string => {
    let name = names.get(body);
    if (name === undefined) {
      name = `body${names.size}`;
      names.set(body, name);
    }
    return name;
  };
  const texts = [oneGraph(g, g.name, place, nameOf)];
  for (const [body, name] of names) texts.push(oneGraph(body, name, place, nameOf));
  return texts.join("\n");
}

function oneGraph(
  g: Graph,
  title: string,
  place: (n: Node) => string,
  nameOf: (body: Graph) => string,
): string {
  const ids = new Map<Value, string>();
  const lines: string[] = [`graph ${title}(${g.symbols.join(", ")}) {`];
  let next = 0;
  const name = (v: Value): string => ids.get(v) ?? "%?";
  for (const n of g.nodes) {
    for (const v of n.outs) ids.set(v, `%${next++}`);
    const outs = n.outs.map((v) => `${name(v)}: ${typeText(v.type)}`).join(", ");
    const attrs: { [name: string]: Attr } = { ...n.attrs };
    let shown: string | undefined;
    for (const [key, graph] of Object.entries(n.attrs)) {
      if (isData(graph) && graph.elements.length <= SHOWN) {
        shown = `${key} = ${graph.dtype}<${Array.from(graph.elements, (x) => attrText(x)).join(", ")}>`;
        delete attrs[key];
      }
      if (isGraph(graph)) attrs[key] = `@${nameOf(graph)}`;
    }
    const a = [shown, attrsText(attrs)].filter(Boolean).join(", ");
    const label = n.label ? ` ${JSON.stringify(n.label)}` : "";
    const at = [place(n), n.origin.path, ...n.origin.derived.map((d) => `(${d})`)].filter(Boolean).join(" ");
    lines.push(
      `  ${outs} = ${n.op.name}(${n.inputs.map(name).join(", ")})${a ? ` {${a}}` : ""}${label}${at ? `  // ${at}` : ""}`,
    );
  }
  for (const c of g.constraints)
    lines.push(`  require ${c.left.key} ${c.relation} ${c.right.key} ${JSON.stringify(c.message)}`);
  for (const i of g.indexes ?? []) lines.push(`  index ${indexText(i)}`);
  for (const w of g.writes) lines.push(`  write ${JSON.stringify(w.path)} <- ${name(w.value)}`);
  for (const r of g.results) lines.push(`  return ${r.name} = ${name(r.value)}`);
  lines.push("}");
  return lines.join("\n");
}

const indexText = ({ input, extent, except, part, use }: IndexRange): string => {
  const places = part?.map((p) => `${printDim(p.start)} : ${printDim(p.size)} : ${p.step}`);
  return [
    `${JSON.stringify(input)} < ${printDim(extent)}`,
    except === undefined ? "" : `except ${except}`,
    places ? `at [${places.join(", ")}]` : "",
    JSON.stringify(use),
  ]
    .filter(Boolean)
    .join(" ");
};
