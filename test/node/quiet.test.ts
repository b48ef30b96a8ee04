// The filter hands on everything but Dawn's own lines, in order, however it is cut.
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { dropChatter } from "../../runtime/node/quiet.ts";

const CHATTER =
  "Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.\n";

test("lines of chatter go, all else stays", async () => {
  const piece = fc.oneof(
    fc.constant(CHATTER),
    fc.string({ unit: "grapheme" }),
    fc.constant("a line\n"),
    fc.constant("\n"),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece), fc.array(fc.nat(400), { minLength: 1 }), async (pieces, cuts) => {
      const whole = pieces.join("");
      const chunks: string[] = [];
      for (let at = 0, i = 0; at < whole.length; i++) {
        const size = (cuts[i % cuts.length] ?? 0) + 1;
        chunks.push(whole.slice(at, at + size));
        at += size;
      }
      const lines = whole.split(/(?<=\n)/).filter((line) => line !== CHATTER);
      expect(await text(Readable.from(chunks).pipe(dropChatter()))).toBe(lines.join(""));
    }),
    { numRuns: 200 },
  );
});

test("a line without an end is not held back", async () => {
  const stream = dropChatter();
  stream.write("downloading 10 %");
  const first = await new Promise((resolve) => stream.once("data", resolve));
  expect(first).toBe("downloading 10 %");
  stream.end();
});
