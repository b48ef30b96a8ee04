// What must come out of workloads, as committed files (bench/figures). PyTorch computed them in double precision, from the
// network that the peers are told: so they share nothing with the compiler. `npm run bench -- --figures` writes them.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readText, root } from "./paths.ts";
import { type Expected, keep, type Results } from "./reference.ts";

export interface Figure {
  readonly made_by: string;
  readonly results: Readonly<Record<string, Expected>>;
}

const fileOf = (name: string): string => `bench/figures/${name}.json`;

export function expectedOf(name: string): Readonly<Record<string, Expected>> | undefined {
  if (!existsSync(join(root, fileOf(name)))) return undefined;
  return (JSON.parse(readText(fileOf(name))) as Figure).results;
}

export function writeFigure(name: string, madeBy: string, results: Results): void {
  const figure: Figure = {
    made_by: madeBy,
    results: Object.fromEntries(Object.entries(results).map(([result, values]) => [result, keep(values)])),
  };
  mkdirSync(join(root, "bench/figures"), { recursive: true });
  // Nine digits tell floats apart; a line a result, so that files stay short.
  const short = (_: string, value: unknown): unknown =>
    typeof value === "number" ? Number(value.toPrecision(9)) : value;
  const lines = Object.entries(figure.results).map(
    ([n, kept]) => `${JSON.stringify(n)}: ${JSON.stringify(kept, short)}`,
  );
  writeFileSync(
    join(root, fileOf(name)),
    `{"made_by": ${JSON.stringify(madeBy)}, "results": {\n${lines.join(",\n")}\n}}\n`,
  );
}
