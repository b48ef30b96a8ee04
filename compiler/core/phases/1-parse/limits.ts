/**
 * How large a source may be. In: nothing. Out: numbers, each with its reason. Separate so that tests and
 * messages speak of the same ones.
 */

/**
 * Brackets within brackets, and `if`s and `for`s in each other's heads. Each level costs the parser some
 * twenty stack frames; a stack of 1 MB (Node's and Chromium's) holds several times this.
 */
export const maxNesting = 128;

/** Levels of the tree, so that every phase may recurse over it: a chain of operators is as deep as it is long. */
export const maxTreeDepth = 512;

/** UTF-16 units. A token and its node take a few hundred bytes; this stays well within 2 GB. */
export const maxSourceLength = 4 * 1024 * 1024;

/** Syntax errors after which the rest of a file is not looked at. */
export const maxSyntaxErrors = 50;
