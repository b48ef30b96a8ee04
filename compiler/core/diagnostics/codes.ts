/**
 * The one table of everything mdl can object to. In: nothing. Out: a row per code. Separate from report.ts
 * so that the catalogue can be read, listed (`docs/`, tests) and added to without the machinery.
 *
 * E01 syntax, E02 names, E03 shapes, E04 dtypes, E05 symbols and dims, E06 arguments and static values,
 * E07 sharing and parameters, E08 imports, E09 modes, training and state, E10 limits, E11 gradients, E12 what a debug build
 * finds when it runs.
 * A code keeps its meaning for ever; a new one takes the next number of its group. Each has a file in
 * test/errors that must give exactly it at the place the file states (test/diagnostics/errors.test.ts); E12 has
 * test/cli/debug.test.ts.
 */
export type Severity = "error" | "warning";

export interface CodeInfo {
  readonly severity: Severity;
  /** What is wrong, in general: lower case, no full stop. A diagnostic's own message says it of one place. */
  readonly title: string;
  /** The usual fix, shown where a diagnostic brings none of its own. */
  readonly help?: string;
  /** The rule, in a sentence or two, for the catalogue. */
  readonly doc: string;
}

const error = (title: string, doc: string, help?: string): CodeInfo => ({
  severity: "error",
  title,
  doc,
  ...(help === undefined ? {} : { help }),
});
const warning = (title: string, doc: string, help?: string): CodeInfo => ({
  ...error(title, doc, help),
  severity: "warning",
});

const table = {
  // ---------------------------------------------------------------------------------------------- syntax
  E0101: error("unexpected text", "The grammar expects something else at this place."),
  E0102: error("unknown character", "A character that begins no token of the language."),
  E0103: error(
    "unterminated string",
    "A string ends on the line on which it begins.",
    'close the string with "',
  ),
  E0104: error(
    "malformed number",
    "Integers are exact up to 2^53; floats need digits on both sides of the point.",
  ),
  E0105: error("unclosed bracket", "Every ( [ { has its partner, of the same kind."),
  E0106: error(
    "cannot be assigned to",
    "The left side of = is a name, a tuple of names or a parameter's path.",
  ),
  E0107: error("positional after named", "In a list of arguments the positional ones come first."),
  E0108: error(
    "mixed record",
    "In parentheses either every part has a name (a record) or none has (a tuple).",
  ),
  E0109: error(
    "unexpected clause",
    "A train block holds minimize, update, frozen, report, with, batch, clip and ema.",
  ),
  E0110: error("missing type", "Parameters of layers, models, fns and ops state their type."),
  E0111: error(
    "operators do not chain",
    "Comparisons and ranges take two operands; join comparisons with &&.",
  ),
  E0112: error("unknown escape", 'A string knows the escapes \\n \\t \\" \\\\ and \\u{…}.'),

  // ----------------------------------------------------------------------------------------------- names
  E0201: error("unknown name", "The name is bound nowhere in scope."),
  E0202: error("bound twice", "Locals, members and parameters are bound once."),
  E0203: error("unknown member", "The instance, layer or value has no member of that name."),
  E0204: error(
    "not callable",
    "Only fns, instances with a forward, layers, operators and lists of these are called.",
  ),
  E0205: error("unknown model", "A train block names a model of the file."),
  E0206: error("unknown type", "A type is a dtype with dims, a static type or the name of a layer."),
  E0207: error("private fn", "A private fn is called from its own layer or model only."),

  // ---------------------------------------------------------------------------------------------- shapes
  E0301: error("shapes do not broadcast", "Right-aligned, axes are equal or a literal 1."),
  E0302: error("shapes do not fit the operator", "The operator's rule for its operands' shapes is broken."),
  E0303: error("wrong result shape", "The body's shape is not the declared one."),
  E0304: error("wrong rank", "The value has another number of axes than is needed."),
  E0305: error("axis out of range", "An axis is between -rank and rank - 1, each named once."),
  E0306: error("index out of range", "A static index or slice lies outside the axis."),
  E0307: error("argument of another shape", "An argument's shape does not unify with the parameter's type."),
  E0308: error("branches differ", "Both branches of an if, and every pass of a loop's carry, have one type."),

  // ---------------------------------------------------------------------------------------------- dtypes
  E0401: error("dtypes differ", "Tensors are never promoted implicitly; cast one of them, as in f32(x)."),
  E0402: error("float literal with an int tensor", "A float literal does not adapt to an integer dtype."),
  E0403: error("division of integers", "/ on int tensors is an error.", "cast to f32, or use floor_div"),
  E0404: error("dtype not allowed here", "The operator is not defined for this dtype."),
  E0405: error("wrong result dtype", "The body's dtype is not the declared one."),
  E0406: error("argument of another dtype", "An argument's dtype is not the parameter's."),

  // ------------------------------------------------------------------------------------- symbols and dims
  E0501: error("unbound symbol", "A symbol is introduced by a fn's parameter types."),
  E0502: error("symbol with two values", "One symbol of a call unified with two different dims."),
  E0503: error("division is not exact", "/ on dims is exact; floor(a / b) rounds down."),
  E0504: error(
    "dim out of range",
    "A dim is an integer of at least 0, and of at least 1 where one is needed.",
  ),
  E0505: error("dim is not an integer", "Dims are integer expressions over symbols and static ints."),
  E0506: error("value is not static", "A static value is needed and this is known at run time only."),

  // --------------------------------------------------------------------------- arguments and static values
  E0601: error("missing argument", "A parameter without default needs an argument."),
  E0602: error("too many arguments", "More arguments are given than there are parameters."),
  E0603: error("unknown argument", "No parameter has that name."),
  E0604: error("argument given twice", "An argument is given once, by place or by name."),
  E0605: error("static value of another type", "A static value is not of the parameter's type."),
  E0606: error("not one of the choices", "The string is not one of the enum's values."),
  E0607: error("static value out of range", "The operator or layer does not take this value."),
  E0608: error("static arithmetic failed", "Division by zero or a result beyond 2^53."),
  E0609: error("wrong number of names", "A tuple is taken apart into as many names as it has parts."),
  E0610: error(
    "model argument without value",
    "A model's parameters need defaults or --set.",
    "give it a default, or pass --set",
  ),
  E0611: error(
    "assertion failed",
    "What assert is given holds: at once where it is static, in a debug build where a call decides it.",
  ),

  // -------------------------------------------------------------------------------- sharing and parameters
  E0701: error(
    "layer constructed in a fn",
    "Layers are instantiated in a layer's or model's body, not in a fn's.",
  ),
  E0702: error("tie of different types", "Tied parameters have one type."),
  E0703: error("nothing to tie", "Both sides of a tie are parameters, and no parameter is tied twice."),
  E0704: error("pattern matches nothing", "A pattern of frozen or update names at least one parameter."),
  E0705: error("layer contains itself", "A layer's instances may not contain the layer, directly or not."),
  E0706: error(
    "parameter without initial value",
    "param and buffer need an initial value or an initialiser.",
  ),

  E0707: error(
    "two parameters of one path",
    "Each parameter and buffer has a path of its own, which is its name in files of weights.",
    "give one of them another name behind as",
  ),

  // --------------------------------------------------------------------------------------------- imports
  E0801: error("module not found", "An import names std/… or a relative path to an .mdl file."),
  E0802: error("name not exported", "The module has no top-level declaration of that name."),
  E0803: error("import cycle", "Files may not import one another in a circle."),

  // --------------------------------------------------------------------------- modes, training and state
  E0901: error("store to something else", "Only buffers and parameters are written with <-."),
  E0902: error(
    "buffer written twice",
    "A call of a fn writes a buffer once; a later call reads what it left.",
  ),
  E0903: error("loss is not a scalar", "minimize takes an f32 of no axes."),
  E0904: error(
    "train block without minimize",
    "A train block has a minimize, and a with for all that it trains.",
  ),
  E0905: error(
    "clause given twice",
    "A train block states a clause once, and of a parameter once what groups say.",
  ),
  E0906: error("misplaced emit", "emit stands in the body of a scan."),
  E0907: error("unknown optimizer", "with takes one of the optimizers, such as sgd or adamw."),
  E0908: error(
    "nothing to train",
    "All parameters that the block, or a group of it, would update are frozen.",
  ),
  E0910: error(
    "stored and trained",
    "A training step writes the parameters that it trains; what its loss stores into is not among them.",
    "name what is trained with update, or leave the other out with frozen",
  ),

  // ---------------------------------------------------------------------------------------------- limits
  E1001: error(
    "nested too deeply",
    "Brackets and expressions nest up to a fixed depth.",
    "bind parts of it to names",
  ),
  E1002: error("source too large", "A source file has a largest size."),
  E1003: error("too many nodes", "The operations a fn expands to are budgeted."),
  E1004: error("too many instances", "The instances of a model are budgeted."),
  E1005: error(
    "calls nested too deeply",
    "Fns may not call themselves, and call chains have a largest depth.",
  ),
  E1006: error("size beyond 2^53", "A tensor's number of elements stays below 2^53."),
  E1007: error("too many errors", "Reporting stops after a number of errors."),
  E1008: error("too many static steps", "Static loops, ranges, comprehensions and expressions are budgeted."),
  E1009: error("static values too large", "The items of lists and the characters of strings are budgeted."),
  E1010: error("size too complex", "A size is an expression of a few dozen terms at most."),

  // ------------------------------------------------------------------------------------------- gradients
  E1101: error(
    "not differentiable",
    "The value does not depend differentiably on what the gradient is taken of.",
  ),
  E1102: error("gradient of a non-scalar", "grad takes a fn with a scalar f32 result."),
  E1103: error("unknown wrt", "wrt names parameters of the fn or of the model."),

  // ------------------------------------------------------------------------------- found by running a debug build
  E1201: error(
    "a NaN or an infinity",
    "The first value of a call or a training step that is NaN or infinite where what it was made of was finite.",
  ),
  E1202: error(
    "gradients differ",
    "A gradient on the GPU, by the reference evaluator and by finite differences is one.",
  ),

  W0201: warning("unused name", "A local is bound and never read.", "remove it, or name it _"),
  W0202: warning(
    "unused value",
    "The value of this expression is not used.",
    "bind it to a name, or remove it",
  ),
  W1101: warning(
    "parameter without a gradient",
    "The loss depends on a trained parameter through indices and conditions alone, so that no gradient reaches it.",
    "freeze it, leave it out of update, or say stop_gradient where its value is used",
  ),
};

export type Code = keyof typeof table;

export const codes: Readonly<Record<Code, CodeInfo>> = table;
