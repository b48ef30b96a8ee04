// Runs once before vitest's projects: the generated sources (standard library, runtime text) should be those of this tree.
// A runtime that does not bundle at the moment is said, but keeps no unrelated test from running; `npm run check` fails.
import { generate } from "../../scripts/generate.mjs";

export async function setup(): Promise<void> {
  try {
    await generate();
  } catch (error) {
    console.error(`the generated sources are not up to date: ${(error as Error).message}`);
  }
}
