// Text as tokens and back. In: a vocabulary: characters, or Hugging Face's tokenizer.json with byte-level byte-pair encoding (as
// GPT-2, Llama 3 and Qwen have it). Out: ids, and text. What a file asks for and is not here is refused by name.

export interface Tokenizer {
  /** How many ids there are. */
  readonly size: number;
  /** Tokens that end a text, where the vocabulary says so. */
  readonly ends: readonly number[];
  encode(text: string): number[];
  /** Bytes of UTF-8: a token may be a part of a character. */
  bytes(id: number): Uint8Array;
}

/** A vocabulary that cannot be used, or a text that it cannot say. */
export class TokenizerError extends Error {
  override name = "TokenizerError";
}

const utf8 = new TextEncoder();

/** Ids are places in a list of characters, as in `sorted(set(text))` of Python. */
export function characters(vocabulary: string | readonly string[]): Tokenizer {
  const list = typeof vocabulary === "string" ? [...vocabulary] : vocabulary;
  const ids = new Map(list.map((c, i) => [c, i]));
  if (ids.size < list.length) throw new TokenizerError("a character is in the vocabulary twice");
  return {
    size: list.length,
    ends: [],
    encode: (text) =>
      [...text].map((c) => {
        const id = ids.get(c);
        if (id === undefined) throw new TokenizerError(`the vocabulary has no ${JSON.stringify(c)}`);
        return id;
      }),
    bytes: (id) => utf8.encode(list[id] ?? ""),
  };
}

/** Ids are bytes. */
export const bytes = (): Tokenizer => ({
  size: 256,
  ends: [],
  encode: (text) => [...utf8.encode(text)],
  bytes: (id) => Uint8Array.of(id),
});

// ------------------------------------------------------------------------------------------- tokenizer.json

interface Part {
  readonly type?: string;
  readonly [key: string]: unknown;
}
interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}

/** From the text of a tokenizer.json, or what JSON.parse makes of it. */
export function huggingFace(file: string | object): Tokenizer {
  let json: Record<string, unknown>;
  try {
    json = (typeof file === "string" ? JSON.parse(file) : file) as Record<string, unknown>;
  } catch (error) {
    throw new TokenizerError(`it is no JSON: ${(error as Error).message}`);
  }
  const model = json["model"] as Part | undefined;
  if (typeof model !== "object" || model === null || typeof model["vocab"] !== "object")
    throw new TokenizerError("it is no tokenizer.json: it has no model with a vocab");
  if ((model.type ?? "BPE") !== "BPE")
    throw new TokenizerError(`its model is ${model.type}; byte-level BPE is what is read`);
  if (model["byte_fallback"] === true)
    throw new TokenizerError("its model falls back to bytes (sentencepiece); byte-level BPE is what is read");
  const vocab = new Map(Object.entries(model["vocab"] as Record<string, number>));
  const merges = new Map(
    ((model["merges"] ?? []) as readonly (string | readonly [string, string])[]).map((m, rank) => [
      typeof m === "string" ? m : m.join(" "),
      rank,
    ]),
  );
  const { pattern, prefix } = splitting(json["pre_tokenizer"] as Part | null);
  const normalise = normaliser(json["normalizer"] as Part | null);
  const added = ((json["added_tokens"] ?? []) as readonly AddedToken[]).toSorted(
    (a, b) => b.content.length - a.content.length,
  );
  const [toText, toByte] = byteLetters();
  const texts = new Map([...vocab].map(([text, id]) => [id, text]));
  const special = new Map(added.map((t) => [t.id, t.content]));
  const size = Math.max(-1, ...texts.keys(), ...special.keys()) + 1;
  const ignoreMerges = model["ignore_merges"] === true;

  const known = new Map<string, readonly number[]>();
  const word = (text: string): readonly number[] => {
    let ids = known.get(text);
    if (ids) return ids;
    const letters = [...utf8.encode(text)].map((b) => toText[b]);
    const whole = ignoreMerges ? vocab.get(letters.join("")) : undefined;
    ids =
      whole !== undefined
        ? [whole]
        : merged(letters, merges).map((part) => {
            const id = vocab.get(part);
            if (id === undefined)
              throw new TokenizerError(`the vocabulary has no token for ${JSON.stringify(part)}`);
            return id;
          });
    if (known.size > 50_000) known.clear();
    known.set(text, ids);
    return ids;
  };
  const plain = (text: string): number[] => {
    const given = normalise(prefix && text !== "" && !/^\s/.test(text) ? ` ${text}` : text);
    return (given.match(pattern) ?? []).flatMap(word);
  };
  return {
    size,
    ends: added
      .filter((t) => /^(?:<\|(?:endoftext|end_of_text|eot_id|im_end)\|>|<\/s>|<eos>)$/.test(t.content))
      .map((t) => t.id),
    encode(text) {
      // Added tokens are found first, wherever they stand.
      const out: number[] = [];
      let from = 0;
      for (let at = 0; at < text.length; ) {
        const token = added.find((t) => t.content !== "" && text.startsWith(t.content, at));
        if (!token) {
          at++;
          continue;
        }
        out.push(...plain(text.slice(from, at)), token.id);
        at += token.content.length;
        from = at;
      }
      out.push(...plain(text.slice(from)));
      return out;
    },
    bytes(id) {
      const own = special.get(id);
      if (own !== undefined) return utf8.encode(own);
      const text = texts.get(id) ?? "";
      return Uint8Array.from([...text].flatMap((c) => toByte.get(c) ?? [...utf8.encode(c)]));
    },
  };
}

/** Pairs joined, the earliest rule first, until no rule is left for any. */
function merged(letters: string[], merges: ReadonlyMap<string, number>): string[] {
  let parts = letters;
  while (parts.length > 1) {
    let best: { readonly left: string; readonly right: string; readonly rank: number } | undefined;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = merges.get(`${parts[i]} ${parts[i + 1]}`);
      if (rank !== undefined && (!best || rank < best.rank))
        best = { left: parts[i], right: parts[i + 1], rank };
    }
    if (!best) break;
    const next: string[] = [];
    for (let i = 0; i < parts.length; i++) {
      if (i + 1 < parts.length && parts[i] === best.left && parts[i + 1] === best.right) {
        next.push(best.left + best.right);
        i++;
      } else next.push(parts[i]);
    }
    parts = next;
  }
  return parts;
}

/** GPT-2's letters for bytes: those that can be seen are themselves, the others lie from 256 on. */
function byteLetters(): [string[], Map<string, number>] {
  const seen = (b: number): boolean =>
    (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let more = 256;
  const letters = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(seen(b) ? b : more++));
  return [letters, new Map(letters.map((c, b) => [c, b]))];
}

/** GPT-2's own way to cut text into words. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

function splitting(part: Part | null | undefined): { readonly pattern: RegExp; readonly prefix: boolean } {
  const parts = part?.type === "Sequence" ? (part["pretokenizers"] as readonly Part[]) : part ? [part] : [];
  let source: string | undefined;
  let prefix = false;
  let level = false;
  for (const p of parts) {
    if (p.type === "ByteLevel") {
      level = true;
      prefix = p["add_prefix_space"] === true;
      if (p["use_regex"] !== false) source ??= GPT2;
    } else if (p.type === "Split" && p["behavior"] === "Isolated" && source === undefined) {
      const { Regex, String: text } = p["pattern"] as { readonly Regex?: string; readonly String?: string };
      source = Regex ?? (text ?? "").replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    } else throw new TokenizerError(`it cuts text by ${p.type}, which is not read; byte-level BPE is`);
  }
  if (!level) throw new TokenizerError("it is not byte-level: it has no pre-tokenizer ByteLevel");
  return { pattern: regex(source ?? "[\\s\\S]+"), prefix };
}

/** A regular expression of Rust's or Oniguruma's, as far as files use more than JavaScript has: `(?i:…)`. */
function regex(source: string): RegExp {
  const own = source.replace(/\(\?i:((?:[^()\\]|\\.)*)\)/g, (_, body: string) => {
    const both = body.replace(
      /(\\.)|([a-zA-Z])/g,
      (m: string, escaped: string | undefined, letter: string | undefined) =>
        escaped ?? (letter ? `[${letter.toLowerCase()}${letter.toUpperCase()}]` : m),
    );
    return `(?:${both})`;
  });
  try {
    // What the pattern does not take is a word by itself, as "Isolated" has it.
    return new RegExp(`${own}|[\\s\\S]`, "gu");
  } catch (error) {
    throw new TokenizerError(`its pattern cannot be read: ${(error as Error).message}`);
  }
}

function normaliser(part: Part | null | undefined): (text: string) => string {
  if (!part) return (text) => text;
  if (part.type === "Sequence") {
    const all = (part["normalizers"] as readonly Part[]).map(normaliser);
    return (text) => all.reduce((t, f) => f(t), text);
  }
  if (/^NFK?[CD]$/.test(part.type ?? "")) return (text) => text.normalize(part.type);
  if (part.type === "Lowercase") return (text) => text.toLowerCase();
  throw new TokenizerError(`it normalises text by ${part.type}, which is not read`);
}
