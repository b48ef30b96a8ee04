// A short kernel text as a module holds it: of what every kernel says (its buffers, how it begins) only what is its own, what
// repeats is folded (fold.ts), and what all of them say often is a letter. In: a text (`minify`). Out: the same, behind a
// `#`; or as it was, where it holds what the short form is made of. `unfold` (runtime/core/unfold.ts) reads it back, and
// says what these words are.
import { BEGIN, blockText, bufferText, PHRASES } from "../../../../runtime/core/unfold.ts";
import { fold } from "./fold.ts";

/** The letters of buffers and phrases, and the sign of how a kernel begins. */
const OURS = new RegExp(`[KL${Object.keys(PHRASES).join("")}]|@\\d`);

const [BEFORE, BEHIND] = BEGIN.split("$1");

/** From the block of words to the last buffer. */
function headOf(text: string): string {
  const fields = /\bP\{((?:a\d*:i32,)+)/.exec(text)?.[1] ?? "";
  const words = fields.split(",").length - 1;
  const from = text.indexOf(blockText(words));
  if (from < 0) return text;
  let at = from + blockText(words).length;
  let types = "";
  for (let i = 1; ; i++) {
    const how = ["K", "L"].find((h) => text.startsWith(bufferText(i, h), at));
    if (!how) break;
    const begin = at + bufferText(i, how).length;
    const end = text.indexOf(">;", begin);
    types += how + text.slice(begin, end);
    at = end + 2;
  }
  return types ? `${text.slice(0, from)}${words}${types};${text.slice(at)}` : text;
}

function beginOf(text: string): string {
  const from = text.indexOf(BEFORE);
  const size = /^\d+/.exec(text.slice(from + BEFORE.length))?.[0] ?? "";
  const whole = BEFORE + size + BEHIND;
  return size && text.startsWith(whole, from) ? text.replace(whole, `@${size};`) : text;
}

/** With what is its own alone, folded. */
export function ownOf(text: string): string {
  if (OURS.test(text)) return text;
  const folded = fold(beginOf(headOf(text)));
  return folded[0] === "#" ? folded : text;
}

/** In letters. */
export const spelled = (own: string): string =>
  own[0] === "#"
    ? Object.entries(PHRASES).reduce((t, [letter, phrase]) => t.replaceAll(phrase, letter), own)
    : own;

export const brief = (text: string): string => spelled(ownOf(text));
