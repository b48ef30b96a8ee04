// Runs once before vitest's projects: the generated sources (standard library, runtime text) must be those of this tree.
import { generate } from "../../scripts/generate.mjs";

export const setup = (): Promise<void> => generate();
