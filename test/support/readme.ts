// The README's code. In: the name in the comment above a block. Out: the block.
import { projectFile } from "./files.ts";

export function readmeBlock(name: string): string {
  const block = new RegExp(`<!-- ${name} -->\\n\`\`\`\\w+\\n([^]*?)\`\`\``).exec(
    projectFile("README.md"),
  )?.[1];
  if (block === undefined) throw new Error(`the README has no block ${name}`);
  return block;
}
