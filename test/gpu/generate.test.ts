// Generation on the adapter: what a cache gives is what whole texts give; seeds, ends, contexts; the command.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/core/index.ts";
import { load } from "../../runtime/core/index.ts";
import type { Net } from "../../runtime/core/net.ts";
import { characters, type GenerateOptions, generate } from "../../runtime/generate/index.ts";
import { example, testCli } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";

const { folder, run } = testCli();
const VOCAB = "abcdefghijkl";
const tokenizer = characters(VOCAB);

async function all(
  net: Net,
  artefact: Parameters<typeof generate>[1],
  options: Partial<GenerateOptions>,
): Promise<string> {
  let text = "";
  for await (const token of generate(net, artefact, { tokenizer, prompt: "abc", ...options }))
    text += token.text;
  return text;
}

describe("generation", () => {
  it("goes on from a cache as from the whole text", async (context) => {
    const { device } = await testDevice(context);
    const { artefact } = compile(readFileSync(example("transformer"), "utf8"), "gpt.mdl", {
      model: "GPT",
      set: { vocab: VOCAB.length, d: 16, heads: 2, depth: 2, context: 16 },
      entries: ["next", "logits"],
    });
    const net = await load(artefact, { device, seed: 3 });
    try {
      const greedy = await all(net, artefact, { temperature: 0, tokens: 9 });
      expect(greedy).toHaveLength(9);
      let text = "abc";
      for (let i = 0; i < 9; i++) {
        const ids = tokenizer.encode(text);
        const { logits } = (await net.entries.logits({ ids: [ids] })) as { logits: { data: Float32Array } };
        const last = logits.data.subarray(logits.data.length - VOCAB.length);
        text += VOCAB[last.indexOf(Math.max(...last))];
      }
      expect(greedy).toBe(text.slice(3));
      // Seeds repeat and differ; the cache of one text is not seen by the next.
      const drawn = await all(net, artefact, { seed: 5, temperature: 3, tokens: 12 });
      expect(await all(net, artefact, { seed: 5, temperature: 3, tokens: 12 })).toBe(drawn);
      expect(await all(net, artefact, { seed: 6, temperature: 3, tokens: 12 })).not.toBe(drawn);
      expect(await all(net, artefact, { temperature: 0, tokens: 9 })).toBe(greedy);
      // 16 places: 3 of the prompt, 13 more that were seen, and what these foretell.
      expect(await all(net, artefact, { tokens: 100 })).toHaveLength(14);
      expect(await all(net, artefact, { temperature: 0, stop: [VOCAB.indexOf(greedy[4])] })).toBe(
        greedy.slice(0, greedy.indexOf(greedy[4])),
      );
      await expect(all(net, artefact, { prompt: "a".repeat(17) })).rejects.toThrow(
        "the prompt has 17 tokens, next takes 16 at most",
      );
      await expect(all(net, artefact, { prompt: "" })).rejects.toThrow("has no tokens");
      await expect(all(net, artefact, { topP: 0 })).rejects.toThrow("topP: expected a number above 0");
      const stopped = new AbortController();
      await expect(
        (async () => {
          for await (const _ of generate(net, artefact, { tokenizer, prompt: "a", signal: stopped.signal }))
            stopped.abort(new Error("enough"));
        })(),
      ).rejects.toThrow("enough");
    } finally {
      net.dispose();
    }
  });

  it("hands state on, and takes a prompt at once where the entry does", async (context) => {
    const { device } = await testDevice(context);
    const { artefact } = compile(
      `model M(v: int = ${VOCAB.length}) {
        // The next of the alphabet, as many further as tokens were seen.
        fn state(id: i32[B], s: f32[B]) -> (y: f32[B, v], s: f32[B]) { (y = one_hot((id + i32(s)) % v, v) * 50, s = s + 1) }
        fn open(ids: i32[1, T], at: i32) -> f32[1, T, v] { one_hot((ids + 1 + at) % v, v) * 50 }
      }`,
      "m.mdl",
    );
    const net = await load(artefact, { device });
    try {
      // From c, after two others: 2 further, then 3, then 4.
      expect(await all(net, artefact, { entry: "state", tokens: 3 })).toBe("ehl");
      // The prompt begins at 0: c + 1. Then d + 1 + 3, h + 1 + 4, a + 1 + 5.
      expect(await all(net, artefact, { entry: "open", tokens: 4 })).toBe("dhag");
    } finally {
      net.dispose();
    }
  });

  it("is a command", async (context) => {
    await testDevice(context);
    writeFileSync(join(folder, "abc.txt"), `${[...VOCAB].reverse().join("")}abab`);
    const sets = ["vocab=12", "d=16", "heads=2", "depth=1", "context=16"].flatMap((s) => ["--set", s]);
    const gpt = [
      "generate",
      example("transformer"),
      "--model",
      "GPT",
      "--entry",
      "next",
      "--target",
      "baseline",
    ];
    const args = [...gpt, ...sets, "--tokenizer", "abc.txt"];
    const one = run([...args, "--prompt", "abc", "--tokens", "6", "--seed", "1"]);
    expect([one.code, one.out]).toEqual([0, expect.stringMatching(/^[a-l]{6}\n$/)]);
    expect(one.err).toMatch(/6 tokens, \d+\.\d a second/);
    const wrong = run([...args, "--prompt", "xyz"]);
    expect([wrong.code, wrong.err]).toEqual([1, expect.stringContaining('the vocabulary has no "x"')]);
    expect(run([...gpt, "--prompt", "a"]).code).toBe(2);
  });
});
