// Repeats in a short kernel text, said once: 32 rows of a tile are one row and how its numbers go on. In: a text
// (`minify`). Out: the same, folded, its names counted (count.ts), behind a `#`; or as it was, where it holds what folds are
// made of. It is there to be compressed further, and `unfold` (runtime/core/unfold.ts) reads it back.
//
// `#8:c'+=subgroupShuffle(v,0')*l;$` stands for `c+=…(v,0)…;c1+=…(v,1)…;` to `c7`: the body eight times, each marked
// number one larger each time, or as much as stands behind its mark. A number that is part of a name may be left out where
// it is 0. Folds lie in folds: of the marks behind a number the first is the innermost fold's.

import { countBack } from "./count.ts";

/** Part of a text that may be repeated: what stands between its numbers, and the numbers. */
interface Piece {
  /** Equal for pieces that differ in their numbers only. */
  readonly key: string;
  /** One more than there are numbers; those of a fold end with marks. */
  readonly parts: readonly string[];
  readonly numbers: readonly Numeral[];
}

interface Numeral {
  readonly value: number;
  /** Of a name, where 0 is left out. */
  readonly ofName: boolean;
  /** By how much it goes on in the folds that it lies in, the innermost first. */
  readonly steps: readonly number[];
}

/** What folds, marks and counts are made of. */
const OURS = /[#$'?]|!-?\d/;

/** Pieces end where statements, blocks and elements of lists do. */
const PIECES = /[^;{},+]*[;{},+]|[^;{},+]+$/g;
const TOKENS = /[A-Za-z_]\w*|\.?\d[\w.]*(?:(?<=e)[-+]\d+)?|\./g;

/** The longest body of a fold, in pieces. */
const LONGEST = 48;

export function fold(text: string): string {
  if (OURS.test(text)) return text;
  let pieces: readonly Piece[] = (text.match(PIECES) ?? []).map(pieceOf);
  for (;;) {
    const folded = foldOnce(pieces);
    if (folded.length === pieces.length) return `#${countBack(pieces.map(textOf).join(""))}`;
    pieces = folded;
  }
}

function pieceOf(text: string): Piece {
  const parts: string[] = [];
  const numbers: Numeral[] = [];
  let from = 0;
  let member = false;
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    const [, name = "", digits] = /^([A-Za-z]{0,2})(0|[1-9]\d{0,8}|)$/.exec(token) ?? [];
    const next = text[index + token.length] ?? "";
    const plain = digits !== undefined && token !== "" && !member && !(name && /[(<]/.test(next));
    // What is behind a dot is a member of a vector, or a word of the uniform block, which are numbered.
    member = token === "." && text[index - 1] !== "p";
    if (!plain || (name && digits === "0")) continue;
    parts.push(text.slice(from, index + name.length));
    from = index + token.length;
    numbers.push({ value: Number(digits), ofName: name !== "", steps: [] });
  }
  parts.push(text.slice(from));
  return { key: parts.join("\0"), parts, numbers };
}

/** What stands behind a number: nothing for folds outside of which it does not go on either. */
const marksOf = ({ steps }: Numeral): string =>
  steps.map((step, i) => (steps.slice(i).some(Boolean) ? `'${step === 1 ? "" : step}` : "")).join("");

const numeralText = (n: Numeral): string => (n.ofName && n.value === 0 ? "" : n.value) + marksOf(n);

const textOf = ({ parts, numbers }: Piece): string =>
  parts.map((part, i) => part + (i < numbers.length ? numeralText(numbers[i]) : "")).join("");

/** By how much the numbers of pieces go on in the next ones; undefined where these are others, or count down. */
function stepsBetween(pieces: readonly Piece[], at: number, length: number): number[][] | undefined {
  const steps: number[][] = [];
  for (let k = at; k < at + length; k++) {
    const [x, y] = [pieces[k], pieces[k + length]];
    if (x.key !== y.key) return undefined;
    const step = x.numbers.map((n, i) => y.numbers[i].value - n.value);
    if (step.some((d) => d < 0)) return undefined;
    steps.push(step);
  }
  return steps;
}

interface Found {
  readonly length: number;
  readonly count: number;
  readonly steps: readonly (readonly number[])[];
}

/** Bytes after compression, about: a repeat is a match, and one more behind each number that differs; a fold is its ends, and marks. */
const saving = (count: number, marks: number): number => (count - 1) * (2 + 1.5 * marks) - (4 + marks);

/** The folds that save most together; what repeats them is found next. */
function foldOnce(pieces: readonly Piece[]): Piece[] {
  /** From each piece on: what is saved, and by which fold that begins there. */
  const best: { readonly saved: number; readonly found?: Found }[] = [];
  best[pieces.length] = { saved: 0 };
  for (let at = pieces.length - 1; at >= 0; at--) {
    best[at] = { saved: best[at + 1].saved };
    for (let length = 1; length <= LONGEST && at + 2 * length <= pieces.length; length++) {
      const steps = stepsBetween(pieces, at, length);
      if (!steps) continue;
      const marks = steps.flat().filter((step) => step !== 0).length;
      let count = 2;
      do {
        const saved = saving(count, marks) + best[at + count * length].saved;
        if (saved > best[at].saved) best[at] = { saved, found: { length, count, steps } };
        count++;
      } while (
        at + count * length <= pieces.length &&
        String(stepsBetween(pieces, at + (count - 2) * length, length)) === String(steps)
      );
    }
  }
  const made: Piece[] = [];
  for (let at = 0; at < pieces.length; ) {
    const { found } = best[at];
    made.push(found ? folded(pieces.slice(at, at + found.length), found) : pieces[at]);
    at += found ? found.length * found.count : 1;
  }
  return made;
}

/** A body as one piece. */
function folded(body: readonly Piece[], { count, steps }: Found): Piece {
  const parts: string[] = [`#${count}:`];
  const numbers: Numeral[] = [];
  const add = (part: string): void => {
    parts[parts.length - 1] += part;
  };
  body.forEach((piece, k) => {
    piece.numbers.forEach((n, i) => {
      add(piece.parts[i]);
      numbers.push({ ...n, steps: [...n.steps, steps[k][i]] });
      parts.push("");
    });
    add(piece.parts[piece.numbers.length]);
  });
  add("$");
  return { key: [...parts, ...numbers.map((n) => n.steps.join())].join("\0"), parts, numbers };
}
