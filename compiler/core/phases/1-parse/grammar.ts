/**
 * The grammar, on chevrotain, building the tree as it goes (docs/language.md has it as EBNF). In: tokens from
 * structure.ts, whose brackets are balanced and bounded. Out: the tree, and the syntax errors. Chevrotain is
 * known to this folder only.
 */
import type { IToken, ParserMethod } from "chevrotain";
import { foreign } from "../../diagnostics/foreign.ts";
import type { Diagnostics } from "../../diagnostics/report.ts";
import type { Span } from "../../diagnostics/span.ts";
import type * as ast from "../../syntax/ast.ts";
import * as x from "./expressions.ts";
import { opt, RecoveringParser } from "./recovery.ts";
import * as t from "./tokens.ts";

type Rule<R> = ParserMethod<[], R>;

const dtypes = new Set(["f32", "f16", "i32", "u32", "i8", "u8", "i64"]);

export class MdlParser extends RecoveringParser {
  constructor(validate = false) {
    super(validate);
    this.performSelfAnalysis();
  }

  /** Not reentrant: one instance, one file at a time. */
  parseFile(tokens: IToken[], file: string, text: string, out: Diagnostics): ast.SourceFile {
    this.begin(tokens, file, text, out);
    const items = this.sourceFile();
    return { kind: "source_file", items, span: { file, start: 0, end: text.length } };
  }

  // -------------------------------------------------------------------------------------------- top level

  private readonly sourceFile: Rule<ast.Item[]> = this.RULE("sourceFile", () => {
    const items: ast.Item[] = [];
    this.lines("a declaration", items, () => this.SUBRULE(this.item));
    return items;
  });

  private readonly item: Rule<ast.Item> = this.RULE("item", () =>
    this.OR<ast.Item>([
      { ALT: () => this.SUBRULE(this.importDecl) },
      { ALT: () => this.SUBRULE(this.layerDecl) },
      { ALT: () => this.SUBRULE(this.fnDecl) },
      { ALT: () => this.SUBRULE(this.opDecl) },
      { ALT: () => this.SUBRULE(this.trainDecl) },
      { ALT: () => this.SUBRULE(this.constant) },
    ]),
  );

  private readonly constant: Rule<ast.Item> = this.RULE("constant", () => {
    const name = this.name();
    return this.binding(name.span, (value, span): ast.Item => ({ kind: "bind", name, value, span }));
  });

  private readonly importDecl: Rule<ast.ImportDecl> = this.RULE("importDecl", () => {
    const start = this.CONSUME(t.Import);
    const names: ast.ImportName[] = [];
    const open = this.CONSUME(t.LCurly);
    this.inside(open, "import", "a name", () => this.commaList(names, () => this.SUBRULE(this.importName)));
    this.CONSUME(t.RCurly);
    this.CONSUME(t.From);
    const from = this.CONSUME(t.String_);
    return this.ACTION(() => ({
      kind: "import" as const,
      names,
      from: x.stringLiteral(from, this.spanOf(from), this.sink),
      span: this.since(start),
    }));
  });

  private readonly importName: Rule<ast.ImportName> = this.RULE("importName", (): ast.ImportName => {
    const name = this.name();
    const alias = this.OPTION(() => {
      this.CONSUME(t.As);
      return this.SUBRULE(this.ident);
    });
    return { kind: "import_name", name, span: this.sinceSpan(name.span), ...opt({ alias }) };
  });

  private readonly layerDecl: Rule<ast.LayerDecl | ast.ModelDecl | ast.OptimizerDecl> = this.RULE(
    "layerDecl",
    () => {
      const word = this.OR([
        { ALT: () => this.CONSUME(t.Layer) },
        { ALT: () => this.CONSUME(t.Model) },
        { ALT: () => this.CONSUME(t.Optimizer) },
      ]);
      let name = this.missingIdent();
      let params: ast.Param[] = [];
      this.header(() => {
        name = this.name();
        this.OPTION(() => {
          params = this.SUBRULE(this.params);
        });
      });
      const members: ast.Member[] = [];
      const open = this.CONSUME(t.LCurly);
      this.lines("a declaration", members, () => this.SUBRULE(this.member), open);
      this.CONSUME(t.RCurly);
      return this.ACTION(() => ({
        kind: word.image as "layer" | "model" | "optimizer",
        name,
        params,
        members,
        span: this.since(word),
      }));
    },
  );

  private readonly params: Rule<ast.Param[]> = this.RULE("params", () =>
    this.paramList(() => this.SUBRULE(this.param)),
  );

  private readonly param: Rule<ast.Param> = this.RULE("param", () =>
    this.paramOr((name) => {
      // With anything else behind it, the list's own complaint says more.
      const next = this.LA(1).tokenType;
      if (next === t.Comma || next === t.RParen) {
        this.sink.report("E0110", `the parameter ${name.name} has no type`, name.span, {
          help:
            foreign(name.name) ??
            `write ${name.name}: int, ${name.name}: int = 3, ${name.name}: f32[N] or the like`,
        });
      }
      return this.hole(name.span);
    }),
  );

  /** A parameter whose type may be left out. */
  private readonly openParam: Rule<ast.Param> = this.RULE("openParam", () =>
    this.paramOr((name) => ({ kind: "any_type", span: name.span })),
  );

  private paramList(param: () => ast.Param): ast.Param[] {
    const params: ast.Param[] = [];
    const open = this.CONSUME(t.LParen);
    this.inside(open, "list of parameters", "a parameter", () => this.commaList(params, param));
    this.CONSUME(t.RParen);
    return params;
  }

  /** A parameter; `untyped` is its type where none is written. */
  private paramOr(untyped: (name: ast.Ident) => ast.Type): ast.Param {
    const name = this.name();
    const type = this.OPTION(() => {
      this.CONSUME(t.Colon);
      return this.SUBRULE(this.type);
    });
    const value = this.OPTION2(() => {
      this.CONSUME(t.Equals);
      return this.SUBRULE(this.expression);
    });
    return this.ACTION(() => ({
      kind: "param" as const,
      name,
      type: type ?? untyped(name),
      span: this.sinceSpan(name.span),
      ...opt({ default: value }),
    }));
  }

  private readonly fnDecl: Rule<ast.FnDecl> = this.RULE("fnDecl", () => {
    const isPrivate = this.OPTION(() => this.CONSUME(t.Private));
    const word = this.CONSUME(t.Fn);
    let name = this.missingIdent();
    let params: ast.Param[] = [];
    let result: ast.Type | ast.RecordType | undefined;
    this.header(() => {
      name = this.name();
      params = this.SUBRULE(this.params);
      this.OPTION2(() => {
        result = this.SUBRULE(this.resultType);
      });
    });
    const body = this.SUBRULE(this.block);
    return this.ACTION(() => ({
      kind: "fn" as const,
      name,
      params,
      body,
      private: isPrivate !== undefined,
      span: this.since(isPrivate ?? word),
      ...opt({ result }),
    }));
  });

  private readonly opDecl: Rule<ast.OpDecl> = this.RULE("opDecl", () => {
    const word = this.CONSUME(t.Op);
    let name = this.missingIdent();
    let params: ast.Param[] = [];
    let result: ast.Type | ast.RecordType | undefined;
    this.header(() => {
      name = this.name();
      params = this.SUBRULE(this.params);
      this.OPTION(() => {
        result = this.SUBRULE(this.resultType);
      });
    });
    const body = this.SUBRULE(this.block);
    const grad = this.OPTION2(() => this.SUBRULE(this.opGrad));
    const wgsl = this.OPTION3(() => {
      const start = this.CONSUME(t.Wgsl);
      const raw = this.CONSUME(t.RawString);
      return { kind: "op_wgsl" as const, text: raw.image.slice(1, -1), span: this.since(start) };
    });
    return this.ACTION(() => ({
      kind: "op" as const,
      name,
      params,
      body,
      span: this.since(word),
      ...opt({ result, grad, wgsl }),
    }));
  });

  private readonly opGrad: Rule<ast.OpGrad> = this.RULE("opGrad", (): ast.OpGrad => {
    const word = this.CONSUME(t.Grad);
    const open = this.CONSUME(t.LParen);
    let cotangent = this.missingIdent();
    this.inside(open, "grad", "a name", () => {
      cotangent = this.name();
    });
    this.CONSUME(t.RParen);
    const body = this.SUBRULE(this.block);
    return { kind: "op_grad", cotangent, body, span: this.since(word) };
  });

  // ---------------------------------------------------------------------------------------------- members

  private readonly member: Rule<ast.Member> = this.RULE("member", () =>
    this.OR<ast.Member>([
      { ALT: () => this.SUBRULE(this.fnDecl) },
      { ALT: () => this.SUBRULE(this.variable) },
      { ALT: () => this.SUBRULE(this.frozen) },
      { ALT: () => this.SUBRULE(this.bindOrTie) },
    ]),
  );

  private readonly variable: Rule<ast.ParamDecl | ast.BufferDecl> = this.RULE("variable", () => {
    let isPrivate: IToken | undefined;
    const word = this.OR([
      { ALT: () => this.CONSUME(t.ParamWord) },
      {
        ALT: () => {
          isPrivate = this.OPTION4(() => this.CONSUME(t.Private));
          return this.CONSUME(t.BufferWord);
        },
      },
    ]);
    const name = this.name();
    let called: ast.Expr | undefined;
    let type: ast.Type = this.hole(name.span);
    let init: ast.Expr | undefined;
    let when: ast.Expr | undefined;
    this.rescue(() => {
      called = this.OPTION3(() => this.SUBRULE(this.called));
      this.CONSUME(t.Colon);
      type = this.SUBRULE(this.type);
      init = this.OPTION(() => {
        this.CONSUME(t.Equals);
        return this.SUBRULE(this.expression);
      });
      when = this.OPTION2(() => {
        this.CONSUME(t.If);
        return this.SUBRULE2(this.expression);
      });
    });
    return this.ACTION(() => {
      const all = { name, type, span: this.since(isPrivate ?? word), ...opt({ called, init, when }) };
      return word.tokenType === t.ParamWord
        ? { kind: "param_decl" as const, ...all }
        : { kind: "buffer_decl" as const, ...all, private: isPrivate !== undefined };
    });
  });

  private readonly frozen: Rule<ast.FrozenDecl> = this.RULE("frozen", (): ast.FrozenDecl => {
    const word = this.CONSUME(t.Frozen);
    const patterns = this.SUBRULE(this.patterns);
    return { kind: "frozen", patterns, span: this.since(word) };
  });

  private readonly bindOrTie: Rule<ast.Member> = this.RULE("bindOrTie", () => {
    const left = this.SUBRULE(this.postfix);
    const called = this.OPTION(() => this.SUBRULE(this.called));
    return this.binding(left.span, (value, span): ast.Member => {
      if (left.kind === "name") {
        const name: ast.Ident = { kind: "ident", name: left.name, span: left.span };
        return { kind: "bind", name, value, span, ...opt({ called }) };
      }
      if (called !== undefined) {
        this.notATarget(left, 'a name as a string binds one name: blocks as "block" = …');
        return { kind: "error", span };
      }
      const target = x.asTarget(left);
      if (target?.kind === "tuple_target") return { kind: "bind_tuple", target, value, span };
      if (left.kind === "member" && x.pathSegments(left) !== undefined) {
        return { kind: "tie", target: left, value, span };
      }
      this.notATarget(left, "a body binds names, and ties paths: head.weight = embed.weight");
      return { kind: "error", span };
    });
  });

  /** What paths call a member: `as "weight_l" + i`. */
  private readonly called: Rule<ast.Expr> = this.RULE("called", () => {
    this.CONSUME(t.As);
    return this.SUBRULE(this.expression);
  });

  private readonly patterns: Rule<ast.Pattern[]> = this.RULE("patterns", () => {
    const patterns = [this.SUBRULE(this.pattern)];
    this.MANY(() => {
      this.CONSUME(t.Comma);
      patterns.push(this.SUBRULE2(this.pattern));
    });
    return patterns;
  });

  private readonly pattern: Rule<ast.Pattern> = this.RULE("pattern", () =>
    this.OR<ast.Pattern>([
      {
        ALT: () => {
          const token = this.CONSUME(t.String_);
          return this.ACTION(() => {
            const text = x.stringLiteral(token, this.spanOf(token), this.sink);
            return { kind: "pattern" as const, segments: text.value.split("."), span: text.span };
          });
        },
      },
      {
        ALT: () => {
          const segments: string[] = [];
          const first = this.LA(1);
          this.MANY(() => {
            this.CONSUME(t.StarDot);
            segments.push("*");
          });
          this.SUBRULE(this.segment, { ARGS: [segments] });
          this.MANY2(() =>
            this.OR2([
              {
                ALT: () => {
                  this.CONSUME(t.Dot);
                  this.SUBRULE2(this.segment, { ARGS: [segments] });
                },
              },
              {
                ALT: () => {
                  this.CONSUME(t.DotStar);
                  segments.push("*");
                },
              },
            ]),
          );
          return this.ACTION(() => ({ kind: "pattern" as const, segments, span: this.since(first) }));
        },
      },
    ]),
  );

  /** One name or number; `0.1` between dots is two of them. */
  private readonly segment: ParserMethod<[string[]], void> = this.RULE("segment", (segments: string[]) => {
    const token = this.OR([
      { ALT: () => this.CONSUME(t.Name) },
      { ALT: () => this.CONSUME(t.Int) },
      { ALT: () => this.CONSUME(t.Float) },
    ]);
    this.ACTION(() => segments.push(...token.image.split(".")));
  });

  // ---------------------------------------------------------------------------------------------- training

  private readonly trainDecl: Rule<ast.TrainDecl> = this.RULE("trainDecl", (): ast.TrainDecl => {
    const word = this.CONSUME(t.Train);
    let name = this.missingIdent();
    let model = this.missingIdent();
    this.header(() => {
      name = this.name();
      this.CONSUME(t.For);
      model = this.SUBRULE(this.ident);
    });
    const clauses: ast.TrainClause[] = [];
    const open = this.CONSUME(t.LCurly);
    this.lines("a clause", clauses, () => this.SUBRULE(this.clause), open);
    this.CONSUME(t.RCurly);
    return { kind: "train", name, model, clauses, span: this.since(word) };
  });

  private readonly clause: Rule<ast.TrainClause> = this.RULE("clause", () => {
    const start = this.LA(1);
    return this.OR<ast.TrainClause>([
      {
        ALT: () => {
          this.CONSUME(t.Minimize);
          const value = this.SUBRULE(this.expression);
          return { kind: "minimize", value, span: this.since(start) };
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.Update);
          const patterns = this.SUBRULE(this.patterns);
          return { kind: "update", patterns, span: this.since(start) };
        },
      },
      { ALT: () => this.SUBRULE(this.frozen) },
      {
        ALT: () => {
          this.CONSUME(t.Report);
          const values = [this.SUBRULE2(this.expression)];
          this.MANY(() => {
            this.CONSUME(t.Comma);
            values.push(this.SUBRULE3(this.expression));
          });
          return { kind: "report", values, span: this.since(start) };
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.With);
          const optimizer = this.SUBRULE4(this.expression);
          const patterns = this.OPTION(() => {
            this.CONSUME(t.For);
            return this.SUBRULE2(this.patterns);
          });
          return { kind: "with", optimizer, span: this.since(start), ...opt({ patterns }) };
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.Batch);
          const size = this.SUBRULE5(this.expression);
          return { kind: "batch", size, span: this.since(start) };
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.Clip);
          const by = this.SUBRULE(this.ident);
          const limit = this.SUBRULE6(this.expression);
          return this.ACTION((): ast.TrainClause => {
            const span = this.since(start);
            if (by.name === "norm" || by.name === "value") return { kind: "clip", by: by.name, limit, span };
            this.sink.report("E0101", `expected \`norm\` or \`value\`, found \`${by.name}\``, by.span, {
              help: "write clip norm 1.0 or clip value 0.5",
            });
            return { kind: "error", span };
          });
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.Ema);
          const decay = this.SUBRULE7(this.expression);
          return { kind: "ema", decay, span: this.since(start) };
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.Accumulate);
          const count = this.SUBRULE8(this.expression);
          return { kind: "accumulate", count, span: this.since(start) };
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.LossScale);
          const initial = this.SUBRULE9(this.expression);
          return { kind: "loss_scale", initial, span: this.since(start) };
        },
      },
      { ALT: () => this.SUBRULE(this.maxNorm) },
      {
        ALT: () => {
          this.CONSUME(t.Gradients);
          return { kind: "gradients", span: this.since(start) };
        },
      },
    ]);
  });

  private readonly maxNorm: Rule<ast.MaxNormClause> = this.RULE("maxNorm", (): ast.MaxNormClause => {
    const word = this.CONSUME(t.MaxNorm);
    const limit = this.SUBRULE(this.expression);
    const patterns = this.OPTION(() => {
      this.CONSUME(t.For);
      return this.SUBRULE(this.patterns);
    });
    return { kind: "max_norm", limit, span: this.since(word), ...opt({ patterns }) };
  });

  // ------------------------------------------------------------------------------------------------- types

  private readonly type: Rule<ast.Type> = this.RULE("type", () => {
    const choices = [this.SUBRULE(this.oneType)];
    this.MANY(() => {
      this.CONSUME(t.Bar);
      choices.push(this.SUBRULE2(this.oneType));
    });
    const question = this.OPTION(() => this.CONSUME(t.Question));
    return this.ACTION(() => {
      const base = x.typeOfChoices(choices);
      return question === undefined
        ? base
        : { kind: "optional_type" as const, element: base, span: this.sinceSpan(base.span) };
    });
  });

  /** One of the choices of a type; a string is a choice of its own. */
  private readonly oneType: Rule<ast.Type> = this.RULE("oneType", () =>
    this.OR<ast.Type>([
      {
        ALT: () => {
          const value = this.stringToken(this.CONSUME(t.String_));
          return this.ACTION(() => ({ kind: "enum_type" as const, values: [value], span: value.span }));
        },
      },
      {
        ALT: () => {
          const open = this.CONSUME(t.LSquare);
          let element: ast.Type = this.hole(this.spanOf(open));
          this.inside(open, "list type", "a type", () => {
            element = this.SUBRULE(this.type);
          });
          this.CONSUME(t.RSquare);
          return { kind: "list_type", element, span: this.since(open) };
        },
      },
      { ALT: () => this.SUBRULE(this.namedType) },
    ]),
  );

  private readonly namedType: Rule<ast.Type> = this.RULE("namedType", () => {
    const word = this.OR([{ ALT: () => this.CONSUME(t.Name) }, { ALT: () => this.CONSUME(t.Fn) }]);
    const dims: ast.Dim[] = [];
    const brackets = this.OPTION(() => {
      const open = this.CONSUME(t.LSquare);
      this.inside(open, "list of dims", "a dim", () => this.commaList(dims, () => this.SUBRULE(this.dim)));
      this.CONSUME(t.RSquare);
      return true;
    });
    return this.ACTION((): ast.Type => {
      const name: ast.Ident = { kind: "ident", name: word.image, span: this.spanOf(word) };
      const span = this.since(word);
      if (brackets === true || dtypes.has(word.image))
        return { kind: "tensor_type", dtype: name, dims, span };
      return { kind: "static_type", name, span };
    });
  });

  private readonly dim: Rule<ast.Dim> = this.RULE("dim", () =>
    this.OR<ast.Dim>([
      { ALT: () => ({ kind: "ellipsis", span: this.spanOf(this.CONSUME(t.Ellipsis)) }) },
      { ALT: () => this.SUBRULE(this.expression) },
    ]),
  );

  private readonly resultType: Rule<ast.Type | ast.RecordType> = this.RULE("resultType", () => {
    this.CONSUME(t.Arrow);
    return this.OR<ast.Type | ast.RecordType>([
      {
        ALT: () => {
          const fields: ast.FieldType[] = [];
          const open = this.CONSUME(t.LParen);
          this.inside(open, "list of results", "a named result", () =>
            this.commaList(fields, () => this.SUBRULE(this.fieldType)),
          );
          this.CONSUME(t.RParen);
          return { kind: "record_type", fields, span: this.since(open) };
        },
      },
      { ALT: () => this.SUBRULE(this.type) },
    ]);
  });

  private readonly fieldType: Rule<ast.FieldType> = this.RULE("fieldType", (): ast.FieldType => {
    const name = this.name();
    this.CONSUME(t.Colon);
    const type = this.SUBRULE(this.type);
    return { kind: "field_type", name, type, span: this.sinceSpan(name.span) };
  });

  // -------------------------------------------------------------------------------------------- statements

  private readonly block: Rule<ast.Block> = this.RULE("block", () => {
    const open = this.CONSUME(t.LCurly);
    const multiline = this.LA(1).tokenType === t.Newline;
    const all: ast.Stmt[] = [];
    this.lines("a statement", all, () => this.SUBRULE(this.statement), open);
    this.CONSUME(t.RCurly);
    return this.ACTION(() => {
      const last = all.at(-1);
      const result = last?.kind === "expr_stmt" ? last.value : undefined;
      const statements = result === undefined ? all : all.slice(0, -1);
      return { kind: "block" as const, statements, multiline, span: this.since(open), ...opt({ result }) };
    });
  });

  private readonly statement: Rule<ast.Stmt> = this.RULE("statement", () =>
    this.OR<ast.Stmt>([
      {
        ALT: () => {
          const word = this.CONSUME(t.Emit);
          const name = this.name();
          const start = this.ACTION(() => this.spanOf(word));
          return this.binding(start, (value, span): ast.Stmt => ({ kind: "emit", name, value, span }));
        },
      },
      { ALT: () => this.SUBRULE(this.assignment) },
    ]),
  );

  private readonly assignment: Rule<ast.Stmt> = this.RULE("assignment", (): ast.Stmt => {
    const left = this.SUBRULE(this.expression);
    let statement: ast.Stmt | undefined;
    this.OPTION(() => {
      const sign = this.OR([{ ALT: () => this.CONSUME(t.Equals) }, { ALT: () => this.CONSUME(t.LeftArrow) }]);
      let value: ast.Expr = this.hole(left.span);
      this.rescue(() => {
        value = this.SUBRULE2(this.expression);
      });
      statement = this.ACTION(() => this.assign(sign, left, value, this.sinceSpan(left.span)));
    });
    return statement ?? { kind: "expr_stmt", value: left, span: left.span };
  });

  private assign(sign: IToken, left: ast.Expr, value: ast.Expr, span: Span): ast.Stmt {
    if (left.kind === "error") return { kind: "error", span };
    if (sign.tokenType === t.LeftArrow) {
      if (left.kind === "name" || left.kind === "member" || left.kind === "index" || left.kind === "pattern")
        return { kind: "store", target: left, value, span };
      this.notATarget(left, "the left side of <- is a buffer");
      return { kind: "error", span };
    }
    const target = x.asTarget(left);
    if (target !== undefined) return { kind: "let", target, value, span };
    const help =
      left.kind === "index" || left.kind === "member"
        ? "a tensor is never changed in place: see update, and <- for buffers"
        : "the left side of = is a name, or names in parentheses";
    this.notATarget(left, help);
    return { kind: "error", span };
  }

  // ------------------------------------------------------------------------------------------- expressions

  private readonly expression: Rule<ast.Expr> = this.RULE("expression", () => {
    const operands = [this.SUBRULE(this.operand)];
    const operators: IToken[] = [];
    this.MANY(() => {
      operators.push(this.CONSUME(t.BinaryOperator));
      operands.push(this.SUBRULE2(this.operand));
    });
    return this.ACTION(() => x.buildOperators(operands, operators, this.file, this.sink));
  });

  private readonly operand: Rule<x.Operand> = this.RULE("operand", () => {
    const prefix: IToken[] = [];
    this.MANY(() => prefix.push(this.CONSUME(t.PrefixOperator)));
    const start = this.LA(1);
    const value = this.SUBRULE(this.postfix);
    return this.ACTION(() => ({ prefix, value, outer: this.since(start) }));
  });

  private readonly postfix: Rule<ast.Expr> = this.RULE("postfix", () => {
    const start = this.LA(1);
    let value = this.SUBRULE(this.atom);
    this.MANY(() => {
      value = this.OR<ast.Expr>([
        {
          ALT: () => {
            const args = this.SUBRULE(this.args);
            return { kind: "call", callee: value, args, span: this.since(start) };
          },
        },
        {
          ALT: () => {
            const items: ast.IndexItem[] = [];
            const open = this.CONSUME(t.LSquare);
            this.inside(open, "index", "an index or a slice", () =>
              this.commaList(items, () => this.SUBRULE(this.indexItem)),
            );
            this.CONSUME(t.RSquare);
            return { kind: "index", object: value, items, span: this.since(start) };
          },
        },
        {
          ALT: () => {
            this.CONSUME(t.Dot);
            const name = this.name();
            return this.ACTION((): ast.Expr => {
              const span = this.since(start);
              if (value.kind !== "pattern") return { kind: "member", object: value, name, span };
              return { kind: "pattern", segments: [...value.segments, name.name], span };
            });
          },
        },
        {
          ALT: () => {
            const star = this.CONSUME(t.DotStar);
            return this.ACTION((): ast.Expr => {
              const span = this.since(start);
              const path = x.pathSegments(value);
              if (path !== undefined) return { kind: "pattern", segments: [...path, "*"], span };
              if (value.kind !== "error") {
                this.sink.report("E0101", "a pattern begins with a name", this.spanOf(star), {
                  help: "write it as head.*, or multiply with spaces around the *",
                });
              }
              return { kind: "error", span };
            });
          },
        },
      ]);
    });
    return value;
  });

  private readonly args: Rule<ast.Arg[]> = this.RULE("args", () => {
    const args: ast.Arg[] = [];
    const open = this.CONSUME(t.LParen);
    this.inside(open, "call", "an argument", () => this.commaList(args, () => this.SUBRULE(this.arg)));
    this.CONSUME(t.RParen);
    this.ACTION(() => {
      let named: ast.Arg | undefined;
      for (const arg of args) {
        if (arg.name !== undefined) named ??= arg;
        else if (named !== undefined && arg.value.kind !== "error") {
          this.sink.report("E0107", "a positional argument after a named one", arg.span, {
            secondary: [{ span: named.span, text: "the first named one" }],
            help: "put the positional ones first, or name this one, too",
          });
          break;
        }
      }
    });
    return args;
  });

  private readonly arg: Rule<ast.Arg> = this.RULE("arg", () =>
    this.OR<ast.Arg>([
      {
        ALT: () => {
          const name = this.name();
          this.CONSUME(t.Equals);
          const value = this.SUBRULE(this.expression);
          return { kind: "arg", name, value, span: this.sinceSpan(name.span) };
        },
      },
      {
        ALT: () => {
          const value = this.SUBRULE2(this.expression);
          return { kind: "arg", value, span: value.span };
        },
      },
    ]),
  );

  private readonly indexItem: Rule<ast.IndexItem> = this.RULE("indexItem", () =>
    this.OR<ast.IndexItem>([
      { ALT: () => ({ kind: "ellipsis", span: this.spanOf(this.CONSUME(t.Ellipsis)) }) },
      { ALT: () => ({ kind: "new", span: this.spanOf(this.CONSUME(t.New)) }) },
      {
        ALT: () => {
          const value = this.SUBRULE(this.expression);
          const rest = this.OPTION(() => this.SUBRULE(this.sliceRest));
          return this.ACTION((): ast.IndexItem => {
            if (rest === undefined) return { kind: "at", value, span: value.span };
            return { kind: "slice", start: value, ...rest, span: this.sinceSpan(value.span) };
          });
        },
      },
      {
        ALT: () => {
          const start = this.LA(1);
          const rest = this.SUBRULE2(this.sliceRest);
          return { kind: "slice", ...rest, span: this.since(start) };
        },
      },
    ]),
  );

  private readonly sliceRest: Rule<{ stop?: ast.Expr; step?: ast.Expr }> = this.RULE("sliceRest", () => {
    this.CONSUME(t.Colon);
    const stop = this.OPTION(() => this.SUBRULE(this.expression));
    const step = this.OPTION2(() => {
      this.CONSUME2(t.Colon);
      return this.OPTION3(() => this.SUBRULE2(this.expression));
    });
    return opt({ stop, step });
  });

  private readonly atom: Rule<ast.Expr> = this.RULE("atom", () =>
    this.OR<ast.Expr>([
      {
        ALT: () => {
          const token = this.CONSUME(t.Name);
          return { kind: "name", name: token.image, span: this.spanOf(token) };
        },
      },
      {
        ALT: () => {
          const token = this.CONSUME(t.Int);
          return this.ACTION(() => x.intLiteral(token, this.spanOf(token), this.sink));
        },
      },
      {
        ALT: () => {
          const token = this.CONSUME(t.Float);
          return this.ACTION(() => x.floatLiteral(token, this.spanOf(token), this.sink));
        },
      },
      { ALT: () => this.stringToken(this.CONSUME(t.String_)) },
      { ALT: () => ({ kind: "bool", value: true, span: this.spanOf(this.CONSUME(t.True)) }) },
      { ALT: () => ({ kind: "bool", value: false, span: this.spanOf(this.CONSUME(t.False)) }) },
      { ALT: () => this.SUBRULE(this.paren) },
      { ALT: () => this.SUBRULE(this.list) },
      { ALT: () => this.SUBRULE(this.ifExpr) },
      { ALT: () => this.SUBRULE(this.forExpr) },
      { ALT: () => this.SUBRULE(this.scanExpr) },
      // A fn with a name is a declaration, which says more where it stands out of place.
      { GATE: () => this.LA(2).tokenType === t.LParen, ALT: () => this.SUBRULE(this.fnExpr) },
      {
        ALT: () => {
          const segments: string[] = [];
          const first = this.LA(1);
          this.AT_LEAST_ONE(() => {
            this.CONSUME(t.StarDot);
            segments.push("*");
          });
          const last = this.name();
          segments.push(last.name);
          return { kind: "pattern", segments, span: this.since(first) };
        },
      },
    ]),
  );

  /** `(a)`, `(a, b)` and `(s = a, c = b)`. */
  private readonly paren: Rule<ast.Expr> = this.RULE("paren", () => {
    const parts: ast.Arg[] = [];
    const open = this.CONSUME(t.LParen);
    let broken = false;
    this.inside(
      open,
      "parentheses",
      "an expression",
      () => this.commaList(parts, () => this.SUBRULE(this.arg)),
      () => {
        broken = true;
      },
    );
    const close = this.CONSUME(t.RParen);
    return this.ACTION((): ast.Expr => {
      const span = this.since(open);
      if (broken || parts.length === 0) {
        if (!broken) this.complain(close, open, "expected an expression, found `)`");
        return { kind: "error", span };
      }
      const named = parts.filter((p) => p.name !== undefined).length;
      if (named === 0) {
        if (parts.length === 1) return parts[0].value;
        return { kind: "tuple", items: parts.map((p) => p.value), span };
      }
      if (named < parts.length) {
        const odd = parts.find((p) => (p.name !== undefined) !== (parts[0].name !== undefined)) as ast.Arg;
        this.sink.report("E0108", "some parts of the parentheses have names and some have none", odd.span, {
          secondary: [{ span: parts[0].span, text: "unlike this one" }],
          help: "name all of them for a record, or none for a tuple",
        });
        return { kind: "error", span };
      }
      const fields = parts.map(
        (p): ast.Field => ({ kind: "field", name: p.name as ast.Ident, value: p.value, span: p.span }),
      );
      return { kind: "record", fields, span };
    });
  });

  private readonly list: Rule<ast.Expr> = this.RULE("list", () => {
    const items: ast.Expr[] = [];
    let rest: { target: ast.Target; iterable: ast.Expr; condition?: ast.Expr } | undefined;
    const open = this.CONSUME(t.LSquare);
    this.inside(open, "list", "an element", () => {
      this.commaList(items, () => this.SUBRULE(this.expression));
      this.OPTION2({
        GATE: () => items.length === 1,
        DEF: () => {
          this.CONSUME(t.For);
          const target = this.SUBRULE(this.target);
          this.CONSUME(t.In);
          const iterable = this.SUBRULE2(this.expression);
          const condition = this.OPTION3(() => {
            this.CONSUME(t.If);
            return this.SUBRULE3(this.expression);
          });
          rest = { target, iterable, ...opt({ condition }) };
        },
      });
    });
    this.CONSUME(t.RSquare);
    return this.ACTION((): ast.Expr => {
      const span = this.since(open);
      if (rest !== undefined) return { kind: "comprehension", element: items[0], ...rest, span };
      return { kind: "list", items, span };
    });
  });

  private readonly ifExpr: Rule<ast.IfExpr> = this.RULE("ifExpr", () => {
    const arms: { word: IToken; condition: ast.Expr; body: ast.Block }[] = [];
    const word = this.CONSUME(t.If);
    let condition: ast.Expr = this.hole(this.spanOf(word));
    this.header(() => {
      condition = this.SUBRULE(this.expression);
    });
    arms.push({ word, condition, body: this.SUBRULE(this.block) });
    let last: ast.Block | undefined;
    // A loop and not a recursion: a chain of `else if` may be long.
    this.MANY({
      GATE: () => last === undefined,
      DEF: () => {
        this.CONSUME(t.Else);
        this.OR([
          {
            ALT: () => {
              const next = this.CONSUME2(t.If);
              let test: ast.Expr = this.hole(this.spanOf(next));
              this.header(() => {
                test = this.SUBRULE2(this.expression);
              });
              arms.push({ word: next, condition: test, body: this.SUBRULE2(this.block) });
            },
          },
          {
            ALT: () => {
              last = this.SUBRULE3(this.block);
            },
          },
        ]);
      },
    });
    return this.ACTION(() => {
      let tail: ast.Block | ast.IfExpr | undefined = last;
      for (let i = arms.length - 1; i >= 0; i--) {
        const { word: start, condition: test, body } = arms[i];
        const span = this.since(start);
        // biome-ignore lint/suspicious/noThenProperty: a node of the tree is never awaited
        tail = { kind: "if", condition: test, then: body, span, ...opt({ else: tail }) };
      }
      return tail as ast.IfExpr;
    });
  });

  private readonly forExpr: Rule<ast.ForExpr> = this.RULE("forExpr", (): ast.ForExpr => {
    const word = this.CONSUME(t.For);
    let target: ast.Target = this.missingIdent();
    let iterable: ast.Expr = this.hole(this.spanOf(word));
    let carries: ast.Field[] = [];
    this.header(() => {
      target = this.SUBRULE(this.target);
      this.CONSUME(t.In);
      iterable = this.SUBRULE(this.expression);
      this.OPTION(() => {
        carries = this.SUBRULE(this.carries);
      });
    });
    const body = this.SUBRULE(this.block);
    return { kind: "for", target, iterable, carries, body, span: this.since(word) };
  });

  private readonly scanExpr: Rule<ast.ScanExpr> = this.RULE("scanExpr", (): ast.ScanExpr => {
    const word = this.CONSUME(t.Scan);
    let target: ast.Target = this.missingIdent();
    let sequence: ast.Expr = this.hole(this.spanOf(word));
    let axis: ast.Expr = sequence;
    let carries: ast.Field[] = [];
    this.header(() => {
      target = this.SUBRULE(this.target);
      this.CONSUME(t.Over);
      sequence = this.SUBRULE(this.expression);
      this.CONSUME(t.Axis);
      axis = this.SUBRULE2(this.expression);
      this.OPTION(() => {
        carries = this.SUBRULE(this.carries);
      });
    });
    const body = this.SUBRULE(this.block);
    return { kind: "scan", target, sequence, axis, carries, body, span: this.since(word) };
  });

  private readonly fnExpr: Rule<ast.FnExpr> = this.RULE("fnExpr", () => {
    const word = this.CONSUME(t.Fn);
    let params: ast.Param[] = [];
    let result: ast.Type | ast.RecordType | undefined;
    this.header(() => {
      params = this.paramList(() => this.SUBRULE(this.openParam));
      this.OPTION(() => {
        result = this.SUBRULE(this.resultType);
      });
    });
    const body = this.SUBRULE(this.block);
    return this.ACTION(() => ({
      kind: "fn_expr" as const,
      params,
      body,
      span: this.since(word),
      ...opt({ result }),
    }));
  });

  private readonly carries: Rule<ast.Field[]> = this.RULE("carries", () => {
    this.CONSUME(t.With);
    const fields = [this.SUBRULE(this.carry)];
    this.MANY(() => {
      this.CONSUME(t.Comma);
      fields.push(this.SUBRULE2(this.carry));
    });
    return fields;
  });

  private readonly carry: Rule<ast.Field> = this.RULE("carry", (): ast.Field => {
    const name = this.name();
    this.CONSUME(t.Equals);
    const value = this.SUBRULE(this.expression);
    return { kind: "field", name, value, span: this.sinceSpan(name.span) };
  });

  private readonly target: Rule<ast.Target> = this.RULE("target", () =>
    this.OR<ast.Target>([
      { ALT: () => this.SUBRULE(this.ident) },
      {
        ALT: () => {
          const items: ast.Target[] = [];
          const open = this.CONSUME(t.LParen);
          this.inside(open, "names", "a name", () => this.commaList(items, () => this.SUBRULE2(this.target)));
          this.CONSUME(t.RParen);
          return { kind: "tuple_target", items, span: this.since(open) };
        },
      },
    ]),
  );

  private readonly ident: Rule<ast.Ident> = this.RULE("ident", (): ast.Ident => {
    const token = this.CONSUME(t.Name);
    return { kind: "ident", name: token.image, span: this.spanOf(token) };
  });

  // ------------------------------------------------------------------------------------------------ pieces

  private name(): ast.Ident {
    return this.SUBRULE9(this.ident);
  }

  private stringToken(token: IToken): ast.StringLiteral {
    return this.ACTION(() => x.stringLiteral(token, this.spanOf(token), this.sink));
  }

  /** `= expression`, made into a node; a broken expression is a hole in it. */
  private binding<R extends { readonly span: Span }>(
    start: Span,
    make: (value: ast.Expr, span: Span) => R,
  ): R {
    this.CONSUME8(t.Equals);
    let value: ast.Expr = this.hole(start);
    this.rescue(() => {
      value = this.SUBRULE8(this.expression);
    });
    return this.ACTION(() => make(value, this.sinceSpan(start)));
  }

  private notATarget(left: ast.Expr, help: string): void {
    if (left.kind === "error") return;
    this.say("E0106", "this cannot be assigned to", left.span, { help });
  }

  /** The name of a declaration whose head is broken. */
  private missingIdent(): ast.Ident {
    const { start } = this.spanOf(this.LA(1));
    return { kind: "ident", name: "", span: { file: this.file, start, end: start } };
  }
}
