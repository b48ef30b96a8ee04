// Calls of other libraries, as they were recorded: what each dispatch was given. In: a file of the recorder's. Out: dispatches.
import { readFileSync } from "node:fs";
import type { Dispatch } from "./calls.ts";

/** As it is in the file. */
interface Recorded {
  readonly name: string;
  readonly texts: readonly string[];
  readonly dispatches: readonly {
    /** Of `texts`. */
    readonly code: number;
    readonly label?: string;
    readonly constants?: Readonly<Record<string, number>>;
    readonly grid: readonly [number, number, number];
    readonly bindings: readonly {
      readonly group: number;
      readonly binding: number;
      readonly size: number;
      /** Of a small buffer: what it held. */
      readonly bytes?: readonly number[];
    }[];
  }[];
}
export interface RecordedCall {
  readonly name: string;
  readonly what: string;
  readonly list: readonly Dispatch[];
}

/** Group and binding of a variable, in either order, where it is of storage. */
const STORAGE =
  /@(group|binding)\s*\(\s*(\d+)[ui]?\s*\)\s*@(?:group|binding)\s*\(\s*(\d+)[ui]?\s*\)\s*var\s*<\s*storage/g;
const storageOf = (code: string): ReadonlySet<string> =>
  new Set(
    [...code.matchAll(STORAGE)].map(([, first, a, b]) => (first === "group" ? `${a} ${b}` : `${b} ${a}`)),
  );

export function recordedCall(path: string): RecordedCall {
  const { name, texts, dispatches } = JSON.parse(readFileSync(path, "utf8")) as Recorded;
  const found = new Map<string, Dispatch>();
  for (const { code: index, label, constants, grid, bindings } of dispatches) {
    const key = JSON.stringify([index, grid, constants, bindings]);
    const known = found.get(key);
    if (known) {
      known.times++;
      continue;
    }
    const code = texts[index];
    const storage = storageOf(code);
    found.set(key, {
      name: label || "kernel",
      site: `text ${index}`,
      code,
      constants,
      groups: grid[0] * grid[1] * grid[2],
      grid,
      small: bindings.flatMap(({ group, binding, bytes }) =>
        bytes ? [{ group, binding, bytes: Uint8Array.from(bytes) }] : [],
      ),
      bytes: bindings
        .filter(({ group, binding }) => storage.has(`${group} ${binding}`))
        .reduce((n, { size }) => n + size, 0),
      times: 1,
    });
  }
  return { name, what: `recorded in ${path}`, list: [...found.values()] };
}
