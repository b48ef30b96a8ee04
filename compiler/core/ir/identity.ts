// What computes the same from the same leaves. In: values, of any graphs. Out: numbers, equal for equal computations.
import { attrsText, opKey, typeText } from "./build.ts";
import type { Value } from "./types.ts";

export class Identity {
  private readonly ids = new Map<string, number>();

  /** A number that is equal for equal computations on equal parameters. */
  of(v: Value, memo = new Map<Value, number>()): number {
    const known = memo.get(v);
    if (known !== undefined) return known;
    const n = v.node;
    const inputs = n.inputs.map((i) => this.of(i, memo)).join();
    const text = `${opKey(n.op)}#${v.index}(${inputs})${attrsText(n.attrs)}:${typeText(v.type)}`;
    let id = this.ids.get(text);
    if (id === undefined) {
      id = this.ids.size;
      this.ids.set(text, id);
    }
    memo.set(v, id);
    return id;
  }
}
