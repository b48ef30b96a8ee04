// `--map`. Apart from what uses it, so that help does not wait for it. In: a text. Out: columns by input.
import { UsageError } from "../failure.ts";

/** `x=image,y=label`: inputs with their columns. */
export function parseMap(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split(",").map((part) => {
      const [input, column, ...rest] = part.split("=").map((s) => s.trim());
      if (!input || !column || rest.length > 0)
        throw new UsageError(`--map takes inputs with their columns, as in x=image,y=label; given ${text}`);
      return [input, column];
    }),
  );
}
