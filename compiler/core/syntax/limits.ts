/**
 * How large a source may be. In: nothing. Out: numbers, each with its reason. Separate so that tests and
 * messages speak of the same ones.
 */

/**
 * Brackets within brackets, and `if`s and `for`s in each other's heads. A level costs the parser some 6 KB of
 * stack, of which Node and Chromium give about 1 MB: this takes less than half of it.
 */
export const maxNesting = 64;

/** Levels of the tree, so that every phase may recurse over it: a chain of operators is as deep as it is long. */
export const maxTreeDepth = 512;

/** UTF-16 units. The worst text takes some 500 bytes a unit, in tokens and nodes: 1 GB at this size. */
export const maxSourceLength = 2 * 1024 * 1024;

/** A name stands in paths, messages, kernels and types. */
export const maxNameLength = 256;

/** Syntax errors after which the rest of a file is not looked at. */
export const maxSyntaxErrors = 50;
