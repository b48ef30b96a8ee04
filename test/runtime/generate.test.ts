// mdlc/generate without a GPU: vocabularies as Hugging Face reads them, and how tokens are drawn.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/core/index.ts";
import {
  bytes,
  characters,
  huggingFace,
  rolesOf,
  sample,
  type Tokenizer,
  TokenizerError,
} from "../../runtime/generate/index.ts";
import { projectRoot } from "../support/files.ts";

interface Figure {
  readonly file: { readonly model: object };
  readonly texts: readonly { readonly text: string; readonly ids: readonly number[] }[];
}
const figures: Record<string, Figure> = JSON.parse(
  readFileSync(join(projectRoot, "test/figures/tokenizers.golden.json"), "utf8"),
);
const textOf = (t: Tokenizer, ids: readonly number[]): string =>
  new TextDecoder().decode(Uint8Array.from(ids.flatMap((id) => [...t.bytes(id)])));

describe("vocabularies", () => {
  it.each(Object.keys(figures))("of byte pairs (%s) are Hugging Face's", (name) => {
    const t = huggingFace(JSON.stringify(figures[name].file));
    expect([t.size, t.ends]).toEqual([400, [0]]);
    for (const { text, ids } of figures[name].texts) {
      expect(t.encode(text), JSON.stringify(text)).toEqual(ids);
      if (name !== "prefix") expect(textOf(t, ids)).toBe(name === "llama3" ? text.normalize("NFC") : text);
    }
  });

  it("of another kind are refused by name", () => {
    const { file } = figures["gpt2"];
    const refused = (change: object, message: string | RegExp): void =>
      expect(() => huggingFace({ ...file, ...change })).toThrow(message);
    expect(() => huggingFace("{")).toThrow(TokenizerError);
    expect(() => huggingFace("[]")).toThrow("it is no tokenizer.json");
    refused({ model: { type: "WordPiece", vocab: {} } }, "its model is WordPiece");
    refused({ model: { type: "BPE", vocab: {}, byte_fallback: true } }, "sentencepiece");
    refused({ pre_tokenizer: { type: "Whitespace" } }, "it cuts text by Whitespace");
    refused({ pre_tokenizer: null }, "not byte-level");
    refused({ normalizer: { type: "Precompiled" } }, "it normalises text by Precompiled");
  });

  it("of characters and bytes are what they say", () => {
    const t = characters("\n abc");
    expect([t.size, ...t.encode("cab\n")]).toEqual([5, 4, 2, 3, 0]);
    expect(textOf(t, [4, 2, 3])).toBe("cab");
    expect(() => t.encode("x")).toThrow('the vocabulary has no "x"');
    expect(() => characters(["a", "a"])).toThrow(TokenizerError);
    expect(bytes().encode("é")).toEqual([0xc3, 0xa9]);
  });
});

describe("drawing", () => {
  const scores = [1, 3, 2, Number.NaN, Number.NEGATIVE_INFINITY, 3];
  /** Probabilities by drawing at many evenly spaced numbers. */
  const shares = (options: Parameters<typeof sample>[1], n = 20_000): number[] => {
    const counts = scores.map(() => 0);
    for (let i = 0; i < n; i++) counts[sample(scores, options, (i + 0.5) / n) as number]++;
    return counts.map((c) => c / n);
  };
  const softmax = (of: readonly number[], t = 1): number[] => {
    const w = of.map((x) => Math.exp(x / t));
    const total = w.reduce((a, b) => a + b, 0);
    return w.map((x) => x / total);
  };

  it("follows the softmax of scores by temperature", () => {
    for (const temperature of [1, 0.5, 2]) {
      const [a, b, c, d] = softmax([1, 3, 2, 3], temperature);
      shares({ temperature }).forEach((p, i) => void expect(p).toBeCloseTo([a, b, c, 0, 0, d][i], 3));
    }
  });

  it("takes the likeliest at a temperature of 0, the first of equals", () => {
    expect(sample(scores, { temperature: 0 }, 0.99)).toBe(1);
    expect(sample(scores, { topK: 1 }, 0.99)).toBe(1);
    expect(sample([Number.NaN], {}, 0)).toBeUndefined();
    expect(sample([0, Number.POSITIVE_INFINITY], {}, 0)).toBe(1);
    expect(sample([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY], {}, 0.9)).toBe(0);
  });

  it("draws among the k largest, and among the fewest that have p together", () => {
    const [b, c, d] = softmax([3, 2, 3]);
    shares({ topK: 3 }).forEach((p, i) => void expect(p).toBeCloseTo([0, b, c, 0, 0, d][i], 3));
    // The two largest have 0.8 together.
    expect(shares({ topP: 0.79 })).toEqual([0, 0.5, 0, 0, 0, 0.5]);
    expect(shares({ topP: 0.1 })).toEqual([0, 1, 0, 0, 0, 0]);
    expect(shares({ topP: 0.9 })[2]).toBeGreaterThan(0.1);
    expect(shares({ topK: 2, topP: 0.5, temperature: 3 })).toEqual([0, 1, 0, 0, 0, 0]);
  });
});

describe("an entry that can be generated from", () => {
  const roles = (fns: string, entry?: string): ReturnType<typeof rolesOf> =>
    rolesOf(
      compile(`model M { buffer seen: f32[7] = zeros()\n${fns}\n}`, "m.mdl", { targets: ["gpu"] }).artefact,
      entry,
    );
  const NEXT = "fn next(id: i32[1], at: i32) -> f32[1, 7] { one_hot(id, 7) + slice_at(seen, [at], [1])[0] }";

  it("is told by what it takes and gives", () => {
    const next = roles(`${NEXT}\nfn logits(ids: i32[B, T]) -> f32[B, T, 7] { one_hot(ids, 7) }`);
    expect([next.entry.name, next.open, next.place?.name, next.context]).toEqual(["next", false, "at", 7]);
    const open = roles("fn step(ids: i32[1, T], at: i32) -> f32[1, T, 7] { one_hot(ids, 7) + f32(at) }");
    expect([open.open, open.context]).toEqual([true, Number.POSITIVE_INFINITY]);
    const state = roles(
      "fn f(id: i32[B], s: f32[B, 3]) -> (y: f32[B, 7], s: f32[B, 3]) { (y = one_hot(id, 7), s = s + 1) }",
    );
    expect([state.state.map((s) => [s.port.name, s.shape]), state.scores.name]).toEqual([
      [["s", [1, 3]]],
      "y",
    ]);
  });

  it("or refused with the reason", () => {
    // As a module's types have it.
    const typed: { readonly version: number; readonly name: string } = { version: 3, name: "M" };
    expect(() => rolesOf(typed)).toThrow("expected what a module exports as artefact");
    expect(() => roles("fn f(x: f32[N]) -> f32[N] { x }")).toThrow(
      "M has no entry that text can be generated from, such as next(id: i32[1], at: i32) -> f32[1, vocab] (f: it takes no tokens)",
    );
    expect(() => roles(`${NEXT}\n${NEXT.replace("next", "other")}`)).toThrow("by next, other: say which");
    expect(roles(`${NEXT}\n${NEXT.replace("next", "other")}`, "other").entry.name).toBe("other");
    expect(() => roles(NEXT, "nothing")).toThrow("M has no entry nothing: it has next");
    expect(() => roles("fn f(ids: i32[4]) -> f32[4, 7] { one_hot(ids, 7) }")).toThrow(
      "ids: i32[4] is more than a token",
    );
    expect(() => roles("fn f(id: i32[1], x: f32[2]) -> f32[1, 7] { one_hot(id, 7) + sum(x) }")).toThrow(
      "neither a token nor state",
    );
  });
});
