// What a debug build shows: the values that were asked for as a table, what print was handed, and the asserts that do not hold.
// In: a debug entry and the results of a call. Out: text, JSON, diagnostics.
import { tensorText } from "../../../runtime/core/print.ts";
import { closest, type Diagnostic, debugging, LineMap, type Sight, type Span } from "../../core/index.ts";
import { InputFailure } from "../failure.ts";
import { type Result, shapeText } from "../print-tensor.ts";
import { count, type Style, table } from "../style.ts";
import { badText, barsOf, indexOf, type Stats, short, statsOf } from "./stats.ts";

type Sources = (file: string) => string | undefined;

/**
 * The values that patterns name; without a pattern all that the call computes. Parameters and buffers are shown where they are
 * asked for.
 */
export function chosen(
  { entry, values, others }: debugging.DebugEntry,
  patterns: readonly string[],
): readonly debugging.Watched[] {
  if (patterns.length === 0) return values.filter((w) => w.kind !== "parameter" && w.kind !== "buffer");
  const found = values.filter((w) => patterns.some((p) => debugging.matches(p, w.name)));
  for (const p of patterns) {
    if (values.some((w) => debugging.matches(p, w.name))) continue;
    const names = [...new Set([...values.map((w) => w.name), ...others])];
    const near = closest(p, [...names, ...names.map(lastPart)]);
    const like = names.filter((n) => near !== undefined && (n === near || lastPart(n) === near)).slice(0, 3);
    const inside = names.filter((n) => n.startsWith(`${p}.`)).slice(0, 3);
    const help = inside.length
      ? `in it are ${inside.join(", ")}; all of it is '${p}.*'`
      : like.length
        ? `did you mean ${like.join(" or ")}?`
        : `it has ${names.slice(0, 12).join(", ")}${names.length > 12 ? " and others: mdl debug lists them" : ""}`;
    throw new InputFailure(`${entry.name} has no value ${p}; ${help}`);
  }
  return found;
}
const lastPart = (name: string): string => name.slice(name.lastIndexOf(".") + 1);

/** Places as a table has them: the line in the model's own file, `std/nn:16` elsewhere. */
export function placesIn(sources: Sources, own: string): (span: Span | undefined) => string {
  const maps = new Map<string, LineMap | undefined>();
  return (span) => {
    if (!span) return "";
    if (!maps.has(span.file)) {
      const text = sources(span.file);
      maps.set(span.file, text === undefined ? undefined : new LineMap(text));
    }
    const line = maps.get(span.file)?.position(span.start).line;
    if (line === undefined) return span.file;
    return span.file === own ? String(line) : `${span.file}:${line}`;
  };
}

export interface Row {
  readonly name: string;
  readonly kind: debugging.Watched["kind"];
  readonly place: string;
  readonly result: Result;
  readonly stats: Stats;
}

export const rowsOf = (
  watched: readonly debugging.Watched[],
  dataOf: (w: debugging.Watched) => Result,
  place: (span: Span | undefined) => string,
): Row[] =>
  watched.map((w) => {
    const result = dataOf(w);
    const stats = statsOf(result.data as ArrayLike<number>);
    return { name: w.name, kind: w.kind, place: place(w.span), result, stats };
  });

/** Forward values, and gradients below them. */
export function tableText(rows: readonly Row[], style: Style): string {
  const parts: [string, readonly Row[]][] = [
    ["value", rows.filter((r) => r.kind !== "gradient")],
    ["gradient", rows.filter((r) => r.kind === "gradient")],
  ];
  return parts
    .filter(([, list]) => list.length > 0)
    .map(([what, list]) =>
      table(
        [
          ["line", what, "type", "min", "max", "mean", "std", "histogram", ""].map((h) => style.dim(h)),
          ...list.map(({ name, place, result, stats }) => {
            const bad = badText(stats);
            return [
              style.dim(place),
              bad ? style.red(name) : name,
              style.cyan(shapeText(result)),
              short(stats.min),
              short(stats.max),
              short(stats.mean),
              short(stats.std),
              barsOf(stats),
              bad ? style.red(bad) : stats.count === 0 ? "empty" : "",
            ];
          }),
        ],
        [0, 3, 4, 5, 6],
      ),
    )
    .join("\n\n");
}

export const rowJson = ({ name, kind, place, result, stats }: Row): object => ({
  name,
  kind,
  place,
  dtype: result.dtype,
  shape: result.shape,
  ...stats,
});

/** What the prints of a call show, in the order of the program. */
export function printText(
  prints: readonly Sight[],
  dataOf: (s: Sight) => Result | undefined,
  place: (span: Span | undefined) => string,
  sources: Sources,
  style: Style,
): string {
  return prints
    .map((s) => {
      const text = s.text ?? (s.value ? wordsAt(s.span, sources) : "");
      const data = dataOf(s);
      const passes = s.passes > 0 ? style.dim(" (each pass)") : "";
      const within = s.path ? style.dim(` in ${s.path}`) : "";
      const head = `${style.dim(`${place(s.span)}:`)} ${style.bold(`${text}${s.name}`)}${within}`;
      if (!data) return `${head}${passes}`;
      const type = style.cyan(shapeText(data));
      return data.shape.length === 0
        ? `${head}: ${type} = ${tensorText(data)}`
        : `${head}: ${type}${passes}\n${tensorText(data)}`;
    })
    .join("\n");
}
/** What stands in the source. */
function wordsAt({ file, start, end }: Span, sources: Sources): string {
  const text = sources(file)?.slice(start, end).replace(/\s+/g, " ") ?? "";
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** Asserts that some element breaks. */
export function broken(
  asserts: readonly Sight[],
  dataOf: (s: Sight) => Result | undefined,
): readonly Diagnostic[] {
  return asserts.flatMap((s): Diagnostic[] => {
    const result = dataOf(s);
    const data = result?.data as ArrayLike<number> | undefined;
    if (!result || !data) return [];
    const wrong = Array.from(data).filter((x) => !x).length;
    if (wrong === 0) return [];
    const at = indexOf(
      Array.from(data).findIndex((x) => !x),
      result.shape,
    );
    const where =
      result.shape.length === 0 ? "is false" : `is false in ${wrong} of ${count(data.length, "element")}`;
    const pass =
      s.passes === 0
        ? ""
        : s.passes === 1
          ? "; axis 0 is the pass"
          : `; the first ${s.passes} axes are passes`;
    const first = at.length > 0 ? [`first at [${at.join(", ")}]${pass}`] : [];
    return [
      {
        code: "E0611",
        severity: "error",
        message: s.text ?? "assertion failed",
        primary: { span: s.span, text: where },
        secondary: [],
        notes: first,
        calls: [],
        ...(s.path === "" ? {} : { path: s.path }),
      },
    ];
  });
}
