// WGSL for machines: the same text without its comments and the space that only people need.

/** Removes comments and space. WGSL has no string literals, so every `//` begins a comment. */
export const minify = (text: string): string =>
  text
    .replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, " ")
    .replace(/\s+/g, " ")
    // `@` after a name or a number keeps its space out, too; between words one space stays.
    .replace(/ ?([^\w\s]) ?/g, "$1")
    .trim();
