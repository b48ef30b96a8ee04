// Text for models that foretell the next token. In: text. Out: records of `ids` and `next`, i32[length] each: `next` is `ids`
// one on. A text is cut into windows; of lines, each is a record, filled up with a class that the loss ignores.
import { DataError, type Dataset, revive } from "./dataset.ts";

/** What cross_entropy passes over, as PyTorch's `ignore_index`. */
export const IGNORED = -100;

export interface TextOptions {
  /** Tokens of a record; 64 without it. */
  readonly length?: number;
  /** Tokens from a record to the next; `length` without it, fewer overlap. */
  readonly stride?: number;
  /** The characters in the order of their tokens; those of the text, sorted, without it. */
  readonly vocabulary?: readonly string[];
}

/** The characters of a text, sorted: what `mdl generate --tokenizer TEXT` makes of it, too. */
export const charactersOf = (text: string): string[] =>
  [...new Set(text)].sort((a, b) => (a.codePointAt(0) as number) - (b.codePointAt(0) as number));

/** Windows of characters. */
export function characterWindows(text: string, file: string, options: TextOptions = {}): Dataset {
  const classes = options.vocabulary ?? charactersOf(text);
  const tokens = tokensOf(text, classes, file);
  return windows(tokens, file, classes, options);
}

/** Windows of bytes, whose values are the tokens. */
export const byteWindows = (bytes: Uint8Array, file: string, options: TextOptions = {}): Dataset =>
  windows(bytes, file, undefined, options);

function tokensOf(text: string, classes: readonly string[], file: string): Uint16Array | Int32Array {
  const place = new Map(classes.map((c, i) => [c, i]));
  const list = [...text].map((c, i) => {
    const token = place.get(c);
    if (token === undefined)
      throw new DataError(`${file}: character ${i}, ${JSON.stringify(c)}, is not in the vocabulary`);
    return token;
  });
  return classes.length <= 65536 ? Uint16Array.from(list) : Int32Array.from(list);
}

function windows(
  data: Uint8Array | Uint16Array | Int32Array,
  file: string,
  classes: readonly string[] | undefined,
  { length = 64, stride = length }: TextOptions,
): Dataset {
  if (!(Number.isSafeInteger(length) && length > 0 && Number.isSafeInteger(stride) && stride > 0))
    throw new DataError(`${file}: a window has at least one token, given length ${length}, stride ${stride}`);
  const size = Math.floor((data.length - 1 - length) / stride) + 1;
  if (size < 1)
    throw new DataError(
      `${file} has ${data.length} tokens, and a record of ${length} and the next one wants ${length + 1}`,
    );
  const column = (start: number) => ({ dtype: "i32" as const, shape: [length], data, start, stride, file });
  return revive({
    kind: "arrays",
    name: file,
    size,
    classes,
    unit: "window",
    columns: { ids: column(0), next: column(1) },
  });
}

/**
 * A line a record: it begins with token 0, which is the line's end, too; the characters follow from 1. Shorter lines are
 * filled up with token 0, whose `next` is ignored. `length` is the longest line and its end.
 */
export function lines(
  text: string,
  file: string,
  options: Pick<TextOptions, "length" | "vocabulary"> = {},
): Dataset {
  const all = text.split(/\r\n|\n|\r/);
  while (all.at(-1) === "") all.pop();
  if (all.length === 0) throw new DataError(`${file} has no lines`);
  const classes = options.vocabulary ?? ["\n", ...charactersOf(all.join(""))];
  const place = new Map(classes.map((c, i) => [c, i]));
  const length = options.length ?? all.reduce((n, line) => Math.max(n, [...line].length), 0) + 1;
  const ids = new Int32Array(all.length * length);
  const next = new Int32Array(all.length * length).fill(IGNORED);
  all.forEach((line, record) => {
    const own = [...line];
    if (own.length + 1 > length)
      throw new DataError(
        `${file}: line ${record + 1} has ${own.length} characters, more than ${length - 1}`,
      );
    own.forEach((c, i) => {
      const token = place.get(c);
      if (token === undefined)
        throw new DataError(`${file}: line ${record + 1}: ${JSON.stringify(c)} is not in the vocabulary`);
      ids[record * length + i + 1] = token;
      next[record * length + i] = token;
    });
    next[record * length + own.length] = 0;
  });
  return revive({
    kind: "arrays",
    name: file,
    size: all.length,
    classes,
    unit: "line",
    places: Int32Array.from(all, (_, i) => i + 1),
    columns: {
      ids: { dtype: "i32", shape: [length], data: ids, file },
      next: { dtype: "i32", shape: [length], data: next, file },
    },
  });
}
