// How a data set meets an entry: which column is given to which input. In: an entry's ports, a Dataset, what `--map` says. Out:
// columns by input, or an InputFailure that lists both sides and what would map them. An input takes the column of its name;
// else the only one left that fits it by dtype and shape.

import type { EntryPlan, Port } from "../../../runtime/core/program.ts";
import { sizeOf } from "../../../runtime/core/tensor.ts";
import type { DrawnInput, InputOf } from "../../../runtime/data/batches.ts";
import type { Column, Dataset } from "../../../runtime/data/dataset.ts";
import { InputFailure } from "../failure.ts";
import { portText } from "../inputs.ts";

export type Matched = Readonly<Record<string, InputOf | DrawnInput>>;

const columnText = (name: string, { dtype, shape }: Column): string =>
  `${name}: ${dtype}${shape.length ? `[${shape.join(", ")}]` : ""}`;

/** Sizes of a port that are numbers. */
const sizesOf = (entry: EntryPlan, port: Port): (number | undefined)[] =>
  port.shape.map((id) => {
    const row = entry.body.exprs[id];
    return typeof row === "number" ? row : undefined;
  });

/** How a column is given to a port; undefined where it does not fit. */
function asInput(entry: EntryPlan, port: Port, name: string, column: Column): InputOf | undefined {
  const sizes = sizesOf(entry, port).slice(1);
  if (port.shape.length === 0) return undefined;
  const floats = port.dtype === "f32" || port.dtype === "f16";
  const same =
    sizes.length === column.shape.length &&
    sizes.every((size, k) => size === undefined || size === column.shape[k]);
  if (floats && column.dtype === "i32") {
    // Shares of classes, of which a label is one.
    const [classes] = sizes;
    return sizes.length === 1 && column.shape.length === 0 && classes !== undefined
      ? { column: name, oneHot: classes }
      : undefined;
  }
  if (floats !== (column.dtype === "f32") || port.dtype === "bool") return undefined;
  if (same) return { column: name };
  const known = sizes.every((size) => size !== undefined) && sizes.length > 0;
  return known && sizeOf(sizes as number[]) === sizeOf(column.shape)
    ? { column: name, shape: sizes as number[] }
    : undefined;
}

/** Noise has the sizes that are declared, for each record. */
function drawnShape(entry: EntryPlan, port: Port): number[] {
  const sizes = sizesOf(entry, port).slice(1);
  if (port.shape.length > 0 && port.dtype === "f32" && sizes.every((size) => size !== undefined))
    return sizes as number[];
  throw new InputFailure(
    `--map ${port.name}: what is drawn is f32[N, …] of sizes that are numbers, and it is ${portText(port)}`,
  );
}

/** The columns that inputs have taken. */
export const columnsOf = (matched: Matched): Set<string> =>
  new Set(Object.values(matched).flatMap((m) => ("column" in m ? [m.column] : [])));

export function matchInputs(
  entry: EntryPlan,
  data: Dataset,
  map: Readonly<Record<string, string>> = {},
): Matched {
  const columns = Object.entries(data.columns);
  const matched: Record<string, InputOf | DrawnInput> = Object.create(null);
  for (const [input, name] of Object.entries(map)) {
    const port = entry.inputs.find((p) => p.name === input);
    if (!port)
      throw new InputFailure(`--map ${input}=${name}: ${entry.name} has no input ${input}: ${takes(entry)}`);
    const draw = /^(normal|uniform)\(\)$/.exec(name)?.[1];
    if (draw !== undefined) {
      matched[input] = { draw: draw as DrawnInput["draw"], shape: drawnShape(entry, port) };
      continue;
    }
    if (!Object.hasOwn(data.columns, name))
      throw new InputFailure(`--map ${input}=${name}: ${data.name} has no ${name}: ${gives(data)}`);
    const found = asInput(entry, port, name, data.columns[name]);
    if (!found)
      throw new InputFailure(
        `--map ${input}=${name}: ${columnText(name, data.columns[name])} of each record does not fit ${portText(port)}`,
      );
    matched[input] = found;
  }
  const open = (): Port[] => entry.inputs.filter((p) => !Object.hasOwn(matched, p.name));
  for (const port of open()) {
    const column = Object.hasOwn(data.columns, port.name) ? data.columns[port.name] : undefined;
    const found = column && asInput(entry, port, port.name, column);
    if (found) matched[port.name] = found;
  }
  for (const port of open()) {
    const used = columnsOf(matched);
    const fits = columns.flatMap(([name, column]) => {
      const found = used.has(name) ? undefined : asInput(entry, port, name, column);
      return found ? [found] : [];
    });
    if (fits.length === 1) matched[port.name] = fits[0];
  }
  const missing = open();
  if (missing.length > 0) {
    const used = columnsOf(matched);
    const left = columns.map(([name]) => name).filter((name) => !used.has(name));
    const example = missing.map((p, i) => `${p.name}=${left[i] ?? "COLUMN"}`).join(",");
    throw new InputFailure(
      `${entry.name} takes ${missing.map(portText).join(", ")}, which no column of the data fits by name, or alone by type: ${takes(entry)}; ${gives(data)}. ` +
        `Rename the input, or map it: --map ${example}`,
    );
  }
  return matched;
}

const takes = (entry: EntryPlan): string => `its inputs are ${entry.inputs.map(portText).join(", ")}`;
const gives = (data: Dataset): string =>
  `a record of ${data.name} has ${Object.entries(data.columns)
    .map(([name, column]) => columnText(name, column))
    .join(", ")}`;

/** `x: f32[1, 28, 28], kind = y: i32`: what was matched, for people. */
export function matchText(data: Dataset, matched: Matched): string {
  return Object.entries(matched)
    .map(([input, from]) => {
      if ("draw" in from) return `${input} drawn (${from.draw})`;
      const { column, shape, oneHot } = from;
      const how = shape ? ` as [${shape.join(", ")}]` : oneHot ? ` as shares of ${oneHot} classes` : "";
      const text = columnText(column, data.columns[column]);
      return column === input ? `${text}${how}` : `${input} = ${text}${how}`;
    })
    .join(", ");
}

/** Most elements that are looked through before a run begins; the runtime looks at each batch, too. */
const LOOKED_AT = 2 ** 24;

/** Integers that an entry uses as indices are inside; else an InputFailure that names the file and the record. */
export function checkLabels(entry: EntryPlan, data: Dataset, matched: Matched): void {
  for (const port of entry.inputs) {
    const from = matched[port.name];
    if ("draw" in from) continue;
    const { column: name, oneHot } = from;
    const column = data.columns[name];
    if (column.dtype !== "i32") continue;
    const elements = sizeOf(column.shape);
    if (data.size * elements > LOOKED_AT) continue;
    const bounds = (port.indexes ?? [])
      .filter((x) => !x.part)
      .map((x) => ({
        end: entry.body.exprs[x.extent],
        except: x.except,
        use: x.use,
      }));
    // An extent that is computed of others is the runtime's to look at.
    const ends = bounds.flatMap(({ end, except, use }) =>
      typeof end === "number" ? [{ end, except, use }] : [],
    );
    if (oneHot !== undefined)
      ends.push({ end: oneHot, except: undefined, use: `shares of ${oneHot} classes` });
    if (ends.length === 0) continue;
    const values = new Int32Array(elements);
    for (let record = 0; record < data.size; record++) {
      column.read(record, values, 0);
      for (const value of values)
        for (const { end, except, use } of ends)
          if (!((value >= 0 && value < end) || value === except))
            throw new InputFailure(
              `${data.place(record, name)} has ${value} as ${port.name}, expected 0 to ${end - 1}${except === undefined ? "" : ` or ${except}`} (${use})`,
            );
    }
  }
}
