// When two kernels are one: their key is equal where they differ in names only, and differs wherever anything else does.
// Kernels of every family are renamed, and changed in each of their fields, one at a time.
import { describe, expect, it } from "vitest";
import type { KernelCode } from "../../compiler/core/kernel/code.ts";
import { kernelKey } from "../../compiler/core/kernel/key.ts";
import { kernelsOf } from "../support/kernels.ts";

type Json = { [field: string]: unknown } | unknown[];
const isJson = (x: unknown): x is Json => typeof x === "object" && x !== null;
/** What a field says of names, or of the kernel to people: nothing that runs. */
const NAMING = new Set(["name", "family", "nest", "group"]);

/** A copy in which slots are still shared, with `change` applied to every field that holds no object. */
function rebuilt(code: KernelCode, change: (field: string, of: Json, value: unknown) => unknown): KernelCode {
  const made = new Map<unknown, unknown>();
  const copy = (x: unknown): unknown => {
    if (!isJson(x)) return x;
    const known = made.get(x);
    if (known) return known;
    const out: Json = Array.isArray(x) ? [] : {};
    made.set(x, out);
    for (const [field, value] of Object.entries(x)) {
      // Types of the graph's values and sizes are not the kernel's.
      const own = field === "dim" || (field === "type" && isJson(value)) ? {} : value;
      (out as { [field: string]: unknown })[field] = isJson(own) ? copy(own) : change(field, x, own);
    }
    return out;
  };
  return copy(code) as KernelCode;
}
const keyOf = (code: KernelCode): string =>
  kernelKey(
    code,
    code.buffers.map((b) => b.access),
  );

const kernels = kernelsOf("baseline", "cpu-subgroup", "gpu");

describe("the key of a kernel", () => {
  it("is asked for kernels of many kinds", () => {
    const kinds = new Set<string>();
    for (const k of kernels)
      rebuilt(k, (field, _of, value) => {
        if (field === "k") kinds.add(String(value));
        return value;
      });
    for (const kind of [
      "for",
      "if",
      "store",
      "run",
      "barrier",
      "setShared",
      "array",
      "subgroup",
      "broadcast",
      "part",
    ])
      expect(kinds).toContain(kind);
  });

  it("is equal whatever its names are", () => {
    for (const k of kernels) {
      const to = new Map<string, string>();
      const renamed = (name: string): string => {
        if (name === "lane" || name === "group") return name;
        const made = to.get(name) ?? `n${997 - to.size}`;
        to.set(name, made);
        return made;
      };
      const other = rebuilt(k, (field, of, value) => {
        if (field === "name" || (field === "fn" && "k" in of && of.k === "run"))
          return renamed(value as string);
        if (field === "fn" && String(value).startsWith("fn:")) return `fn:${renamed(String(value).slice(3))}`;
        return value;
      });
      expect(keyOf(other) === keyOf(k), k.name).toBe(true);
    }
  });

  it("differs where anything else does", () => {
    const other: { readonly [field: string]: (value: never) => unknown } = {
      access: (a: string) => (a === "read" ? "read_write" : "read"),
      dtype: (t: string) => (t === "f32" ? "f16" : "f32"),
      width: (w: number) => (w === 1 ? 4 : 1),
      op: (op: string) => (op === "+" ? "-" : "+"),
      fn: (fn: string) => (fn.startsWith("fn:") ? "tan" : "fn:none"),
      combine: (c: string) => (c === "max" ? "min" : "max"),
      k: (k: string) => ({ let: "var", shared: "element", element: "shared" })[k] ?? k,
    };
    const told = new Set<string>();
    for (const k of kernels.filter((_, i) => i % 3 === 0)) {
      const key = keyOf(k);
      let fields = 0;
      rebuilt(k, (_field, _of, value) => {
        fields++;
        return value;
      });
      // Some of its fields, evenly.
      const step = Math.ceil(fields / 60);
      for (let at = told.size % step; at < fields; at += step) {
        let n = 0;
        let what = "";
        let same = true;
        const changed = rebuilt(k, (field, of, value) => {
          if (n++ !== at || NAMING.has(field) || (field === "fn" && "k" in of && of.k === "run"))
            return value;
          const f = other[field] as ((value: unknown) => unknown) | undefined;
          const to = f
            ? f(value)
            : typeof value === "number"
              ? value + 1
              : typeof value === "boolean"
                ? !value
                : value;
          same = to === value;
          what = field;
          return to;
        });
        if (same) continue;
        told.add(what);
        expect(keyOf(changed) !== key, `${what} of ${k.name}`).toBe(true);
      }
    }
    for (const field of ["dtype", "width", "op", "fn", "value", "access"]) expect(told).toContain(field);
  });
});
